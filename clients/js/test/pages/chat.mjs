// A chat: the last messages of a room, earlier ones, sending, and who is typing.
import { createElement, StrictMode, useState } from 'react';
import { useChannel, useGatewayState, useHistory, useSend, useTyping } from '../../dist/react.js';

export const LAST = 50;
const ROOM = 'room:7';
const label = ({ from, text }) => `${from}: ${text}`;

function Chat({ client }) {
  const [draft, setDraft] = useState('');
  const { messages, gap } = useChannel(client, ROOM, { last: LAST, limit: Infinity });
  const older = useHistory(client, ROOM, { before: messages[0]?.position, limit: 40 });
  const { send, pending, retry } = useSend(client, ROOM);
  const { users, typing } = useTyping(client, ROOM);
  const submit = (event) => {
    event.preventDefault();
    send({ text: draft });
    typing(false);
    setDraft('');
  };
  const onChange = ({ target }) => {
    setDraft(target.value);
    typing();
  };
  const item = (key, text) => createElement('li', { key }, text);
  return createElement(
    'main',
    null,
    createElement('p', { id: 'state' }, useGatewayState(client)),
    older.more && createElement('button', { id: 'older', onClick: older.loadMore }, 'Earlier'),
    createElement(
      'ol',
      { id: 'messages' },
      older.messages.map(({ position, message }) => item(position, label(message))),
      messages.map(({ key, message }) => item(key, label(message))),
    ),
    createElement(
      'ul',
      { id: 'pending' },
      pending.map(({ id, message, error }) => createElement('li', { key: id, onClick: () => retry(id) }, `${message.text}${error ? ' failed' : ''}`)),
    ),
    createElement('p', { id: 'typing' }, users.join(', ')),
    createElement('p', { id: 'gap' }, gap && `${gap.reason} ${gap.last}`),
    createElement('form', { onSubmit: submit }, createElement('input', { id: 'draft', value: draft, onChange })),
  );
}

export const chat = (client) => createElement(StrictMode, null, createElement(Chat, { client }));
