// Malformed frames, which a gateway never sends.
import { LIMITS } from './fake.mjs';

export const ROOM = 'room:7';

// Values of unexpected types.
export const ODD = [null, undefined, 0, -1, 1e300, 'text', '', true, [], {}, [null], { toString: 1 }];
const OPS = [-1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 99, '3', null];
const FIELDS = {
  0: ['heartbeat_interval', 'limits'],
  2: ['user', 'channels', 'expires_in'],
  3: ['channel', 'message', 'position'],
  6: ['channel', 'state', 'reason', 'position', 'recovered', 'presence'],
  7: ['after', 'reason'],
  8: ['channel', 'reason'],
  9: ['code', 'detail', 'id'],
  10: ['time'],
  11: ['time'],
  13: ['expires_in'],
  14: ['channel', 'count', 'joined', 'left'],
  15: ['id', 'channel', 'members', 'next'],
};
const VALID = {
  0: { heartbeat_interval: 45_000, limits: LIMITS },
  2: { user: '42', channels: [{ channel: ROOM, position: '5-0' }] },
  3: { channel: ROOM, message: {}, position: '5-1' },
  6: { channel: ROOM, state: 'subscribed', position: '5-0' },
  7: { after: 1_000, reason: 'draining' },
  8: { channel: ROOM, reason: 'link_lost' },
  9: { code: 'own_channel', detail: '' },
  10: { time: 1 },
  11: { time: 1 },
  13: { expires_in: 60_000 },
  14: { channel: ROOM, count: 1, joined: ['42'], left: [] },
  15: { id: 'm1', channel: ROOM, members: ['42'], next: '42' },
};

/** Every frame with each field malformed, and texts that are not frames. */
export function* oddFrames() {
  for (const text of ['null', '1', '"text"', '[]', '[null]', 'true', '{}', '{"op":{}}', '{"op":[3]}']) yield text;
  for (const op of OPS) yield { op };
  for (const [op, fields] of Object.entries(FIELDS)) {
    for (const field of fields) {
      for (const value of ODD) yield { op: Number(op), ...VALID[op], [field]: value };
    }
  }
  for (const channel of ODD) yield { op: 2, user: '42', channels: [channel, { channel: ROOM, position: '5-0' }] };
}
