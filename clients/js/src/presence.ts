/** The presence of other users. It is not part of the core, which has a limited size. */

export { online, OnlineUser, type OnlineEvents, type OnlineState } from './online.js';
export { presence, PresenceError, RoomPresence, type MemberPage, type MembersOptions, type RoomEvents } from './room.js';
