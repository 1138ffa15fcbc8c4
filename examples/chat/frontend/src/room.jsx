// One room: its members with their presence, its messages, and the line to write on.
import { useEffect, useRef, useState } from 'react';
import { useGateway, useOnlineUsers, useRoom, useSend, useTyping } from '@emagine/gateway-client/react';
import * as api from './api.js';
import { Message } from './message.jsx';

const RETRY_MS = 3_000;

/** The members of a room. A new one appears with the first message. */
function useMembers(room, messages) {
  const [members, setMembers] = useState([]);
  const isKnown = messages.every(({ user }) => members.some(({ id }) => id === user));
  useEffect(() => {
    const abort = new AbortController();
    let timer;
    const retry = () => {
      if (!abort.signal.aborted) timer = setTimeout(load, RETRY_MS);
    };
    const load = () => api.members(room, abort.signal).then(setMembers, retry);
    load();
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, [room, isKnown]);
  return members;
}

/** Messages from before those that the room has loaded. The numbers of a room have no holes. */
function useEarlier(room, first) {
  const [pages, setPages] = useState([]);
  // After a gap the room may begin later than these end: they are loaded again.
  const earlier = first && pages.at(-1)?.number === first.number - 1 ? pages : [];
  const oldest = earlier[0] ?? first;
  // After a failure the button is still there.
  const load = () => api.earlier(room, oldest.number).then((page) => setPages([...page, ...earlier]), () => {});
  return { earlier, loadEarlier: oldest?.number > 1 ? load : undefined };
}

/** Tells the server which message was read last, while the page is visible. */
function useRead(room, last) {
  useEffect(() => {
    if (!last) return;
    const tell = () => document.hidden || api.read(room, last).catch(() => {});
    tell();
    document.addEventListener('visibilitychange', tell);
    return () => document.removeEventListener('visibilitychange', tell);
  }, [room, last]);
}

/** Keeps the newest message in view, unless the user has scrolled up. */
function useNewestInView(...changes) {
  const list = useRef(null);
  const isAtEnd = useRef(true);
  const onScroll = ({ currentTarget: { scrollTop, scrollHeight, clientHeight } }) => {
    isAtEnd.current = scrollHeight - scrollTop - clientHeight < 80;
  };
  useEffect(() => {
    if (isAtEnd.current && list.current) list.current.scrollTop = list.current.scrollHeight;
  }, changes);
  return { ref: list, onScroll };
}

export function Room({ user, room }) {
  const client = useGateway();
  const channel = `room:${room.id}`;
  const { items, isLoading, error } = useRoom(channel, {
    load: (signal) => api.messages(room.id, signal),
    key: ({ number }) => number,
  });
  const { earlier, loadEarlier } = useEarlier(room.id, items[0]);
  const members = useMembers(room.id, items);
  const online = useOnlineUsers(client, members.map(({ id }) => id));
  const { send, pending, retry } = useSend(client, channel);
  const { users: typists, typing } = useTyping(client, channel);
  useRead(room.id, items.at(-1)?.number);
  const list = useNewestInView(items, pending);
  const [draft, setDraft] = useState('');

  const submit = (event) => {
    event.preventDefault();
    const text = draft.trim();
    if (!text) return;
    send({ text });
    typing(false);
    setDraft('');
  };
  const nameOf = (id) => members.find((member) => member.id === id)?.name ?? 'Somebody';
  const names = typists.filter((id) => id !== user.id).map(nameOf);
  const all = [...earlier, ...items];

  return (
    <>
      <header className="room">
        <h1># {room.title}</h1>
        <ul className="members" aria-label="Members">
          {members.map(({ id, name }) => (
            <li key={id} data-online={online.get(id)?.online === true} title={online.get(id)?.online ? 'online' : 'away'}>
              {name}
            </li>
          ))}
        </ul>
      </header>
      <ol className="messages" aria-label="Messages" aria-busy={isLoading} {...list}>
        {loadEarlier && (
          <li className="more">
            <button onClick={loadEarlier}>Earlier messages</button>
          </li>
        )}
        {!isLoading && all.length === 0 && pending.length === 0 && <li className="empty">Nobody has written anything here yet.</li>}
        {error !== undefined && <li className="empty">The messages cannot be loaded. Trying again…</li>}
        {all.map((message, index) => (
          <Message key={message.number} message={message} previous={all[index - 1]} isOwn={message.user === user.id} />
        ))}
        {pending.map(({ id, message, error: problem }) => (
          <li key={id} className="message pending">
            <p>{message.text}</p>
            {problem ? <button onClick={() => retry(id)}>Not sent. Try again</button> : <small>sending…</small>}
          </li>
        ))}
      </ol>
      <p className="typing" aria-live="polite">
        {names.length > 0 && `${names.join(', ')} ${names.length === 1 ? 'is' : 'are'} typing…`}
      </p>
      <form className="write" onSubmit={submit}>
        <input
          aria-label={`Message to ${room.title}`}
          placeholder={`Message to ${room.title}`}
          maxLength={4000}
          value={draft}
          onChange={({ target }) => {
            setDraft(target.value);
            typing(target.value !== '');
          }}
          autoFocus
        />
        <button disabled={draft.trim() === ''}>Send</button>
      </form>
    </>
  );
}
