-- How long what is known of a key or an account is kept after its last use, in ms: a week. A text, as in
-- numbered.
local KEY_KEPT_MS = '604800000'
