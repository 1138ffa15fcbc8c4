/** The states of a client. */

/**
 * The state of a client:
 *
 * - `idle`: not connected, before `connect` and after `disconnect`.
 * - `connecting`: getting a token, opening a socket, or identifying.
 * - `connected`: Ready has arrived.
 * - `waiting`: the connection is lost, and the next attempt is scheduled.
 * - `closed`: ended, with its subscriptions. `connect` starts without them.
 */
export type ClientState = 'idle' | 'connecting' | 'connected' | 'waiting' | 'closed';

/** A close code of the gateway; 1006 if the socket ended without one. */
export type CloseCode =
  | 1000
  | 1001
  | 1002
  | 1003
  | 1006
  | 1007
  | 1008
  | 1009
  | 1011
  | 1012
  | 1013
  | 4001
  | 4002
  | 4003
  | 4004
  | 4005
  | 4006
  | 4007
  | 4008
  | 4009
  | 4010
  | (number & {});

/** Why a client is waiting or closed: a reason of this library, or the text of the gateway's Close. */
export type StateReason =
  | 'closed by the app'
  | 'disconnected'
  | 'no token'
  | 'no WebSocket'
  | 'timeout'
  | 'no heartbeat'
  | 'cannot send'
  | 'bad frame'
  | 'offline'
  | 'pagehide'
  | (string & {});

/** A change of the state of a client. */
export type StateEvent = {
  /** The number of attempts since the last connection that lasted. */
  attempts: number;
} & (
  | { state: 'idle'; code?: undefined; reason?: StateReason; retryInMs?: undefined }
  | { state: 'connecting' | 'connected'; code?: undefined; reason?: undefined; retryInMs?: undefined }
  | {
      state: 'waiting';
      /** After a connection: the close code. */
      code?: CloseCode;
      reason: StateReason;
      /** The time until the next attempt, in milliseconds. */
      retryInMs: number;
    }
  | { state: 'closed'; code?: CloseCode; reason: StateReason; retryInMs?: undefined }
);

/** The fields of a StateEvent that depend on the state. */
export interface StateDetail {
  code?: CloseCode;
  reason: StateReason;
  retryInMs?: number;
}
