-- How long the ledger keeps what it has counted, in ms: by the hour 40 days, by the day 400, and the models of a client 40.
local HOUR_KEPT_MS, DAY_KEPT_MS, CLIENT_MODELS_KEPT_MS = 3456000000, 34560000000, 3456000000
