// The list of rooms with unread messages, and the open room.
import { useEffect, useState } from 'react';
import { useGateway, useGatewayState } from '@emagine/gateway-client/react';
import * as api from './api.js';
import { Room } from './room.jsx';

/** The unread messages of each room: those at login, and the notes that the server sends to this user. */
function useUnread(user, open) {
  const client = useGateway();
  const [unread, setUnread] = useState(() => new Map(user.rooms.map((room) => [room.id, room.unread])));
  useEffect(() => {
    setUnread((all) => new Map(all).set(open, 0));
    const offs = [
      client.on('message', ({ channel, message: { room } }) => {
        if (channel !== `user:${user.id}` || room === open) return;
        setUnread((all) => new Map(all).set(room, (all.get(room) ?? 0) + 1));
      }),
      // Notes may be missing: the server knows the numbers.
      client.on('gap', ({ channel }) => {
        if (channel !== `user:${user.id}`) return;
        api.me().then(({ rooms }) => setUnread(new Map(rooms.map(({ id, unread: count }) => [id, id === open ? 0 : count]))), () => {});
      }),
    ];
    return () => offs.forEach((off) => off());
  }, [client, user.id, open]);
  return unread;
}

/** Says so when the connection has been missing for a moment; a short reconnect shows nothing. */
function OfflineBanner() {
  const isOnline = useGatewayState(useGateway()) === 'connected';
  const [isShown, setShown] = useState(false);
  useEffect(() => {
    if (isOnline) return setShown(false);
    const timer = setTimeout(() => setShown(true), 1_000);
    return () => clearTimeout(timer);
  }, [isOnline]);
  return isShown ? (
    <p className="banner" role="status">
      Offline. Your messages are sent when the connection is back.
    </p>
  ) : null;
}

export function Chat({ user }) {
  const [open, setOpen] = useState(user.rooms[0].id);
  const unread = useUnread(user, open);
  const room = user.rooms.find(({ id }) => id === open);
  return (
    <div className="chat">
      <nav>
        <header>
          <strong>{user.name}</strong>
        </header>
        <ul>
          {user.rooms.map(({ id, title }) => (
            <li key={id}>
              <button aria-current={id === open} onClick={() => setOpen(id)}>
                <span># {title}</span>
                {unread.get(id) > 0 && <b className="unread">{unread.get(id)}</b>}
              </button>
            </li>
          ))}
        </ul>
      </nav>
      <main>
        <OfflineBanner />
        <Room key={open} user={user} room={room} />
      </main>
    </div>
  );
}
