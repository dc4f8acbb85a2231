-- Asks doveauth about accounts. Dovecot 2.4 has no passdb or userdb that asks a dict, as 2.3's do: this sends what
-- those send. A key holds the password in clear: nothing here puts one into a message.

local unix = require("socket.unix")
local auth = dovecot.auth

-- Seconds that an answer may take. Dovecot gives a worker a minute.
local patience = 30
local path

function script_init(settings)
  path = settings.socket
  return 0
end

-- The dict protocol's escapes: no field holds a TAB or a line break.
local escapes = { ["\1"] = "\0011", ["\t"] = "\1t", ["\r"] = "\1r", ["\n"] = "\1n", ["\0"] = "\0010" }
local escaped = { ["1"] = "\1", t = "\t", r = "\r", n = "\n", ["0"] = "\0" }

local function escape(field)
  return (field:gsub("[\0\1\t\r\n]", escapes))
end

local function unescape(field)
  return (field:gsub("\1(.)", escaped))
end

-- A part of a key, which a bare quotation mark ends.
local function quote(text)
  return ((text or ""):gsub("[\"'\\]", "\\%0"))
end

-- What `read` makes of the answer to a command. A connection that is lost is made again, once: doveauth may have been
-- killed, and whoever asks twice gets the same answer.
local function ask(command, read)
  local why
  for _ = 1, 2 do
    local connection = assert(unix.stream())
    connection:settimeout(patience, "t")
    local done, result
    done, why = connection:connect(path)
    if done then
      done, why = connection:send("H4\t0\t0\t\tauth\n" .. command .. "\n")
    end
    if done then
      result, why = read(connection)
    end
    connection:close()
    if result then
      return result
    elseif why ~= "closed" then
      break
    end
  end
  error("doveauth does not answer: " .. why, 0)
end

-- An account's fields; nil if the answer is no.
local function lookup(key)
  local answer = ask("L" .. escape("shared/" .. key) .. "\t", function(connection)
    return connection:receive("*l")
  end)
  local kind, value = answer:sub(1, 1), unescape(answer:sub(2))
  if kind == "N" then
    return nil
  elseif kind == "F" then
    error("doveauth is in trouble: " .. value, 0)
  elseif kind ~= "O" or value:find("\\", 1, true) then
    error("doveauth gives an answer that is none", 0)
  end
  -- One flat JSON object of texts; what would need escapes is in none of them.
  local fields = {}
  for name, text in value:gmatch('"([^"]*)":"([^"]*)"') do
    fields[name] = text
  end
  return fields
end

-- On a front doveauth names the host that has the mailbox, and Dovecot passes the session on to it: with TLS. Who
-- connected stays here: a backend has no use for addresses of clients. Without a port LMTP takes the one that mail came
-- to, and dies where that is a unix socket.
local function with_proxy(fields, account, request)
  if account.proxy then
    fields.proxy = account.proxy
    fields.host = account.host
    fields.port = request.protocol == "lmtp" and "24" or "143"
    fields.starttls = "yes"
    fields.proxy_timeout = "10"
    fields.proxy_not_trusted = "yes"
  end
  return fields
end

-- In both, what nobody knows now is a temporary failure, and its reason a line in Dovecot's log.

function auth_passdb_lookup(request)
  local key = { quote(request.password), quote(request.user), quote(request.remote_ip) }
  local known, account = pcall(lookup, "passdb/" .. table.concat(key, '"'))
  if not known then
    return auth.PASSDB_RESULT_INTERNAL_FAILURE, account
  elseif not account or not account.password then
    return auth.PASSDB_RESULT_USER_UNKNOWN
  end
  return auth.PASSDB_RESULT_OK, with_proxy({ password = account.password }, account, request)
end

function auth_userdb_lookup(request)
  local known, account = pcall(lookup, "userdb/" .. quote(request.user))
  if not known then
    return auth.USERDB_RESULT_INTERNAL_FAILURE, account
  elseif not account then
    return auth.USERDB_RESULT_USER_UNKNOWN
  end
  return auth.USERDB_RESULT_OK, { home = account.home, uid = account.uid, gid = account.gid }
end

-- All accounts, for doveadm.
function auth_userdb_iterate()
  local prefix = "shared/userdb/"
  return ask("I0\t0\t" .. prefix .. "\t", function(connection)
    local users = {}
    while true do
      local row, why = connection:receive("*l")
      if not row then
        return nil, why
      elseif row == "" then
        return users
      elseif row:sub(1, 1) ~= "O" then
        return nil, unescape(row:sub(2))
      end
      users[#users + 1] = unescape(row:match("^O([^\t]*)")):sub(#prefix + 1)
    end
  end)
end
