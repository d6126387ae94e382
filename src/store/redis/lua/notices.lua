-- All notices that are up and whose key begins so.
return main(function()
    local notices = {}
    for _, key in ipairs(call('ZRANGEBYSCORE', P .. 'notices', '(' .. text(now), '+inf')) do
        if string.sub(key, 1, #a.prefix) == a.prefix then
            local notice = call('HMGET', P .. 'notice:' .. key, 'text', 'since', 'until')
            if notice[1] then notices[#notices + 1] = { key, notice[1], notice[2], notice[3] } end
        end
    end
    return notices
end, true)
