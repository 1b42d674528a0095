-- A worker numbers what it tells, so that each counts once however often it is told. Its last number is kept for so long, in ms: a
-- day. A text, as some versions of Redis take longer to print a number than to run a command.
local NUMBER_KEPT_MS = '86400000'
