-- What was noted under a key, as a list of one or none.
return main(function() return { call('HGET', P .. 'notes', a.key) or nil } end, true)
