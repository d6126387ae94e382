-- Notes a text under a key.
return main(function() call('HSET', P .. 'notes', a.key, a.text) end)
