-- What a claim is on.
return main(function() return claim_of(held(a.handler, a.fence), true) end, true)
