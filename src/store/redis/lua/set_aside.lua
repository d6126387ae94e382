-- Moves a document out of the way whose JSON the caller could not read.
return main(function() set_aside(a.kind, a.id) end)
