-- One replica says what it may still spend of one partner's meters and what it has spent, and is told what it may spend from now on.
-- The protocol, and why it holds, stands in lease/mod.rs.
--
-- KEYS[1]: the partner's hash. Field `s`: run of the server, born, last call, level of the bucket, then for each window start, gone,
-- heard. Every other field is one replica's row: serial of its last call, when it was heard, tokens (cap, spent), then for each window
-- start, cap, spent.
--
-- ARGV: replica, serial, last serial that was answered, replicas at most, leaving (1 or 0); rate per second, bucket, tokens (cap, spent,
-- wants: 1 or 0); then for each window limit, start, cap (-1: its share of a window just opened), spent, spent elsewhere as it last
-- heard; wants answers (1 or 0).
--
-- Reply: {-1} a late call, nothing was done; {0, now} nothing is leased yet; {2, now} gone;
-- {1, now, level, token cap, and for each window start, cap (-1: no word), spent elsewhere}. `now` in microseconds.
local clock = redis.call('TIME')
local info = redis.pcall('INFO', 'server')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
local run = type(info) == 'string' and string.match(info, 'run_id:(%x+)') or '-'

local HOLD = 1          -- seconds nothing is leased after a loss or a pause of all
local GAP = 0.7         -- seconds without any call: all replicas may have been alone, and say what they did first
local ALONE = 0.3       -- the same, where the caller has made up tokens: the others may have, too
local SILENT = 15       -- seconds after which a replica is taken for dead
local FORGOTTEN = 600   -- seconds after which a dead replica's row is folded away
local GRAIN = 0.05      -- seconds of the rate that who wants tokens gets at least
local KEPT_MS = 172800000
local EXACT = 2 ^ 53    -- beyond it numbers are no longer exact
local SERIALS = 2 ^ 32  -- so far ahead of its own next call no replica has been
local LENGTHS = {60, 3600, 86400}
local OFFSETS = {0, 0, 28800} -- the day is China Standard Time's

local key, id = KEYS[1], ARGV[1]
local serial, known, replicas, leaving = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5] == '1'
local rate, bucket = tonumber(ARGV[6]), tonumber(ARGV[7])
local cap, spent, wants_tokens = tonumber(ARGV[8]), tonumber(ARGV[9]), ARGV[10] == '1'
local wants_answers = ARGV[26] == '1'
local min, max, floor, ceil = math.min, math.max, math.floor, math.ceil

-- Not a number and the infinite would pass, or fail, every comparison below.
local function numbers(text, count)
  local out = {}
  for word in string.gmatch(text, '%S+') do
    local number = tonumber(word)
    if not number or number ~= number or number > EXACT or number < -EXACT then return end
    out[#out + 1] = number
  end
  if #out == count then return out end
end

-- A birth after the last call would hold leases back for ever; a window that opens at no window's time would never be anybody's.
local function is_state(state)
  if state[1] > state[2] then return false end
  for w = 1, 3 do
    if (state[1 + 3 * w] + OFFSETS[w]) % LENGTHS[w] ~= 0 or state[2 + 3 * w] < 0 or state[3 + 3 * w] < 0 then return false end
  end
  return true
end

local function is_row(row, name)
  if name == id and row[1] > serial + SERIALS then return false end
  return row[4] >= 0 and row[7] >= 0 and row[10] >= 0 and row[13] >= 0
end

-- Read what is there. What is not ours is as good as not there.
local flat, state, state_run, rows = redis.call('HGETALL', key), nil, nil, {}
for i = 1, #flat, 2 do
  if flat[i] == 's' then
    local word, rest = string.match(flat[i + 1], '^(%S+) (.*)$')
    state_run, state = word, rest and numbers(rest, 12)
    if state and not is_state(state) then state = nil end
  else
    local row = numbers(flat[i + 1], 13)
    if row and is_row(row, flat[i]) then rows[flat[i]] = row else redis.call('HDEL', key, flat[i]) end
  end
end
if rows[id] and rows[id][1] >= serial then return {-1} end

-- A loss: the key is empty, comes from another run of a server (a restart, a failover) or from a clock ahead of ours, or lacks what a
-- replica knows to have told. Every row is told anew, and nothing is leased meanwhile.
if state and now < state[2] and now > state[2] - GAP then now = state[2] end
local is_new = not state or state_run ~= run or now < state[2]
local is_behind = known > 0 and (not rows[id] or rows[id][1] < known)
if is_new or (is_behind and now - state[1] >= HOLD) then
  for name in pairs(rows) do redis.call('HDEL', key, name) end
  local gone = state or {}
  state = {now, now, 0, gone[4] or 0, gone[5] or 0, 0, gone[7] or 0, gone[8] or 0, 0, gone[10] or 0, gone[11] or 0, 0}
  rows = {}
end
local own, born, last, level = rows[id], state[1], state[2], state[3]

local made_up = own and own[3] >= 0 and cap > own[3]
local is_gap = now > last + GAP or (made_up and now > last + ALONE)
if is_gap then born = now end
local holding = now - born < HOLD

-- The bucket. What a replica made up while alone is owed; what of a reply it never saw, or lets go of, comes back.
-- After a pause of all the bucket begins empty: replicas made up the rate themselves, and may hold all of the burst.
level = level + rate * (now - last)
if is_gap then level = 0
elseif own and own[3] >= 0 then level = level - (cap - own[3]) end

-- The windows. A clock set back by less than a window does not open it again; a replica may be two seconds ahead.
local windows = {}
for w = 1, 3 do
  local start, gone, heard = state[1 + 3 * w], state[2 + 3 * w], state[3 + 3 * w]
  local told = tonumber(ARGV[7 + 5 * w])
  local opened = floor((now + OFFSETS[w]) / LENGTHS[w]) * LENGTHS[w] - OFFSETS[w]
  if told > opened and told - now <= 2 then opened = told end
  if opened > start or start - now > LENGTHS[w] then start, gone, heard = opened, 0, 0 end
  windows[w] = {
    limit = tonumber(ARGV[6 + 5 * w]), told = told, cap = tonumber(ARGV[8 + 5 * w]), spent = tonumber(ARGV[9 + 5 * w]),
    start = start, gone = gone, heard = heard, held = 0, elsewhere = 0,
  }
  local window = windows[w]
  if holding and told == start then window.heard = max(heard, tonumber(ARGV[10 + 5 * w]) + window.spent) end
end

local function share(limit) return limit >= 1 and max(1, floor(limit / replicas)) or 0 end

-- A pause of all: whoever does not call again may have spent all it could before it died.
if is_gap then
  for _, row in pairs(rows) do
    row[2], row[3] = now, -1
    for w, window in ipairs(windows) do
      local is_open = row[2 + 3 * w] == window.start and row[3 + 3 * w] >= 0
      local most = is_open and max(row[3 + 3 * w], row[4 + 3 * w]) or share(window.limit)
      row[2 + 3 * w], row[3 + 3 * w], row[4 + 3 * w] = window.start, most, most
    end
  end
end

-- Returns what a row holds of a window, and what of it is spent. The dead have spent at most a second's worth unreported.
local function held(row, w, window)
  local is_alive = row[2] >= now - SILENT
  local row_cap, row_spent = row[3 + 3 * w], row[4 + 3 * w]
  if row[2 + 3 * w] ~= window.start then
    if is_alive then return share(window.limit), 0 end
    -- One that was heard right before the window opened may have lived to open it.
    local unreported = row[2] > window.start - 1 and min(share(window.limit), rate + bucket) or 0
    return unreported, unreported
  end
  if row_cap < 0 then row_cap = share(window.limit) end
  row_cap = max(row_cap, row_spent)
  if is_alive then return row_cap, row_spent end
  local kept = min(row_cap, row_spent + rate + bucket)
  return kept, kept
end

local tokens_held = max(cap - spent, 0)
for name, row in pairs(rows) do
  if name ~= id then
    row[2] = min(row[2], now)
    local is_forgotten = not holding and row[2] < now - FORGOTTEN
    for w, window in ipairs(windows) do
      local row_held, row_spent = held(row, w, window)
      if is_forgotten then window.gone = window.gone + row_held
      else window.held, window.elsewhere = window.held + row_held, window.elsewhere + row_spent end
    end
    if is_forgotten then redis.call('HDEL', key, name)
    elseif row[2] >= now - SILENT then tokens_held = tokens_held + max(row[3] - row[4], 0) end
  end
end

-- Lease tokens: everybody keeps half of its share at hand; who wants more gets half of what there is.
level = max(min(level, bucket - tokens_held), -bucket)
if not holding then
  local wish = ceil(bucket / (2 * replicas)) - (cap - spent)
  if wants_tokens then wish = max(wish, floor(level / 2), ceil(rate * GRAIN)) end
  local granted = leaving and 0 or max(min(wish, floor(level)), 0)
  cap, level = cap + granted, level - granted
end

-- Lease answers: up to what remains of a window divided by the replicas, as far as nobody else holds it.
local row = {serial, leaving and now - SILENT - 1 or now, cap, spent}
local reply = {1, floor(now * 1000000), max(floor(level), 0), cap}
for w, window in ipairs(windows) do
  if not holding and window.heard > 0 then
    -- What was spent by those who did not tell it anew.
    local told = window.elsewhere + (window.told == window.start and window.spent or 0)
    window.gone, window.heard = max(window.gone, window.heard - told), 0
  end
  local elsewhere = window.elsewhere + window.gone
  if window.told == window.start and leaving then
    window.cap = window.spent
  elseif window.told == window.start and not holding then
    local before = window.cap < 0 and share(window.limit) or window.cap
    local remaining = max(window.limit - elsewhere - window.spent, 0) / replicas
    local fair = window.spent + (wants_answers and ceil(remaining) or floor(remaining))
    local room = window.limit - window.held - window.gone - max(before, window.spent)
    window.cap = before + max(min(fair - before, room), 0)
  end
  if own and window.told > window.start and own[2 + 3 * w] == window.start then
    -- A replica ahead of this clock has left the window for good: what it may have given there stays counted.
    row[#row + 1], row[#row + 2], row[#row + 3] = own[2 + 3 * w], own[3 + 3 * w], own[4 + 3 * w]
  else
    row[#row + 1], row[#row + 2], row[#row + 3] = window.told, window.cap, window.spent
  end
  -- A replica in another window turns to this one; what it may spend there it learns with its next call.
  local word = window.told == window.start and window.cap or -1
  reply[#reply + 1], reply[#reply + 2], reply[#reply + 3] = window.start, word, elsewhere
end

local function text(values, precise)
  local words = {}
  for i, value in ipairs(values) do words[i] = string.format(precise[i] and '%.6f' or '%.0f', value) end
  return table.concat(words, ' ')
end
local kept = {born, now, level}
for _, window in ipairs(windows) do
  kept[#kept + 1], kept[#kept + 2], kept[#kept + 3] = window.start, window.gone, window.heard
end
if is_gap then
  for name, other in pairs(rows) do redis.call('HSET', key, name, text(other, {[2] = true})) end
end
redis.call('HSET', key, id, text(row, {[2] = true}), 's', run .. ' ' .. text(kept, {true, true, true}))
redis.call('PEXPIRE', key, KEPT_MS)
if leaving then return {2, reply[2]} end
if holding then return {0, reply[2]} end
return reply
