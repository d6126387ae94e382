-- Forgets a VM; no claim has it any more.
return main(function() remove_vm(a.vm) end)
