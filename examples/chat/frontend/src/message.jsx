/** Messages of one person within this time share a heading. */
const SAME_GROUP_MS = 5 * 60_000;

const time = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const day = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long' });

/** A colour for each user, the same on every page. */
const hue = (user) => (Number(user) * 137) % 360;

export function Message({ message, previous, isOwn }) {
  const isNewDay = !previous || day.format(previous.at) !== day.format(message.at);
  const isNewGroup = isNewDay || previous.user !== message.user || message.at - previous.at > SAME_GROUP_MS;
  return (
    <>
      {isNewDay && <li className="day">{day.format(message.at)}</li>}
      <li className={`message${isOwn ? ' own' : ''}${isNewGroup ? ' first' : ''}`} style={{ '--hue': hue(message.user) }}>
        {isNewGroup && (
          <>
            <span className="avatar" aria-hidden="true">
              {message.name.slice(0, 1).toUpperCase()}
            </span>
            <header>
              <strong>{message.name}</strong> <time dateTime={new Date(message.at).toISOString()}>{time.format(message.at)}</time>
            </header>
          </>
        )}
        <p>{message.text}</p>
      </li>
    </>
  );
}
