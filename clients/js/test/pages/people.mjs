// A component that uses the hooks for presence, in a page and rendered by a server.
import { createElement, StrictMode, useState } from 'react';
import { useOnline, useOnlineUsers, usePresence } from '../../dist/react.js';

const word = (state) => (state ? (state.online ? 'online' : 'away') : 'unknown');

function People({ client }) {
  const [users, setUsers] = useState(['ada', 'bob']);
  const [room, setRoom] = useState('room:7');
  Object.assign(globalThis, { followUsers: setUsers, enterRoom: setRoom });
  const states = useOnlineUsers(client, users);
  const ada = useOnline(client, 'ada');
  const { count, members, isComplete } = usePresence(client, room, { maxMembers: 4 });
  const each = users.map((user) => `${user} ${word(states.get(user))}`).join(', ');
  const list = `${count ?? 'no count'} [${members.join(' ')}]${isComplete ? ' complete' : ''}`;
  return createElement('p', { id: 'people' }, `${word(ada)}; ${each}; ${list}`);
}

export const people = (client) => createElement(StrictMode, null, createElement(People, { client }));
