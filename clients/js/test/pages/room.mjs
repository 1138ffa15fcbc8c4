// A component that uses the hooks, rendered by a server and hydrated in a page.
import { createElement, StrictMode } from 'react';
import { useChannel, useGatewayState } from '../../dist/react.js';

function Room({ client }) {
  const { messages, state, gap } = useChannel(client, 'room:7', { limit: 3 });
  return createElement(
    'div',
    null,
    createElement('p', { id: 'state' }, `${useGatewayState(client)} ${state} ${gap ? gap.reason : 'whole'}`),
    createElement(
      'ul',
      { id: 'messages' },
      messages.map(({ key, message }) => createElement('li', { key }, message.n)),
    ),
  );
}

export const app = (client) => createElement(StrictMode, null, createElement(Room, { client }));
