-- A call that is sent again, because the connection was cut before its reply came, gets the reply of the first: nothing counts
-- twice. So long, in ms, a reply is kept. A text, as in numbered.
local REPEATED_WITHIN_MS = '20000'
