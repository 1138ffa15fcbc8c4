// A real gateway for chats, and a backend that reads its inbox.
import { eventually } from './deadline.mjs';
import { startGateway } from './gateway.mjs';

/** Starts a gateway whose namespace `room` has messages to the backend, signals and history. */
export function startChatGateway(test, settings = {}) {
  return startGateway(test, {
    'namespaces.room.send': true,
    'namespaces.room.signals': true,
    'namespaces.room.history_size': 200,
    'namespaces.room.max_last': 100,
    'session.sends_per_minute': 60_000,
    'limits.connects_per_second_per_address': 0,
    'limits.identifies_per_minute_per_user': 0,
    ...settings,
  });
}

/** All messages of the inbox, by page. */
export async function inboxOf({ admin }) {
  const messages = [];
  for (let next = ''; next !== null; ) {
    const response = await fetch(`http://127.0.0.1:${admin}/v1/inbox?limit=100${next && `&after=${next}`}`);
    const page = await response.json();
    messages.push(...page.messages);
    next = page.next;
  }
  return messages;
}

/** Deletes the messages of the inbox up to this entry. */
export const deleteInbox = ({ admin }, entry) =>
  fetch(`http://127.0.0.1:${admin}/v1/inbox?through=${entry}`, { method: 'DELETE' });

/** A backend that publishes each message of the inbox on its channel, until the test ends. */
export function startBackend(test, gateway) {
  let isOver = false;
  const working = (async () => {
    while (!isOver) {
      const next = async () => isOver || (await inboxOf(gateway)).length > 0;
      await eventually('a message is in the inbox', next, 600_000);
      if (isOver) return;
      const messages = await inboxOf(gateway);
      for (const { channel, message, user } of messages) await gateway.publish(channel, { ...message, from: user });
      await deleteInbox(gateway, messages.at(-1).entry);
    }
  })();
  test.after(() => {
    isOver = true;
    // The gateway may have ended before.
    return working.catch(() => {});
  });
}
