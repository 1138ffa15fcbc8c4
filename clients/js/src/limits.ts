/** The fixed limits of the core. The bundle contains their values, because this module has no imports. */

/** The number of Identify errors in a row after which the client closes. */
export const MAX_FAULTS = 3;
/** After this many closes in a row without a lasting connection, `connect` waits. */
export const MAX_ENDS = 5;
/** The minimum time between attempts that a wake-up starts, in milliseconds. */
export const WAKE_MS = 1_000;
/** The minimum time between two requests for a token, in milliseconds. */
export const TOKEN_MS = 1_000;
/** The minimum time between heartbeats, in milliseconds. Each uses a part of the budget. */
export const MIN_BEAT_MS = 15_000;
/** Clients that are disconnected together, without a time to reconnect, spread over this time. */
export const SPREAD_MS = 3_000;
/** Bytes of a frame besides the token and the channels, at most. */
export const FRAME_MARGIN = 256;
/** The maximum number of channels in one frame. */
export const MAX_BATCH = 1_000;
