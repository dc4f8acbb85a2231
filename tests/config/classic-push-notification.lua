-- What classic relays do for each message that was delivered: set an entry of its mailbox, which whoever has the
-- mailboxes' entries is told of. To measure against. For Dovecot's plugins mail_lua and push_notification_lua.

function dovecot_lua_notify_begin_txn(user)
  return user
end

function dovecot_lua_notify_event_message_new(user, event)
  local mailbox = user:mailbox(event.mailbox)
  mailbox:sync()
  if event.from_address ~= user.username then
    mailbox:metadata_set("/private/messagenew", "")
  end
  mailbox:free()
end

function dovecot_lua_notify_end_txn(user, success)
end
