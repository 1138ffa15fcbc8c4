/** Messages to the backend, signals and history. They are not part of the core, which has a limited size. */

export { allHistory, history, type HistoryOptions, type HistoryPage, type StoredMessage } from './history.js';
export { MessageError } from './message-error.js';
export { queued, send, type SendOptions } from './send.js';
export { signal } from './signals.js';
