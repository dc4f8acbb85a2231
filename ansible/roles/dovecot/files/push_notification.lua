-- Tells doveauth of each message that was delivered, so that it wakes up the recipient's devices.
-- For Dovecot's plugins mail_lua and push_notification_lua.

function dovecot_lua_notify_begin_txn(user)
  return user
end

function dovecot_lua_notify_event_message_new(user, event)
  -- What somebody sends to their own other devices needs no bell.
  if event.from_address == user.username then
    return
  end
  local mailbox = user:mailbox(event.mailbox)
  -- Entries of a mailbox go by its GUID. No sync: that would read the mailbox while the delivery waits.
  mailbox:open()
  mailbox:metadata_set("/private/messagenew", "")
  mailbox:free()
end

function dovecot_lua_notify_end_txn(user, success)
end
