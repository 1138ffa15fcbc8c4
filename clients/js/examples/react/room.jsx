// A room in React: its items come from the app's server, and its messages keep them current.
import { GatewayProvider, useRoom } from '@emagine/gateway-client/react';

function Room({ channel, load }) {
  const { items, state, isLoading } = useRoom(channel, { load, key: ({ id }) => id });
  return (
    <>
      <p>{isLoading ? 'loading' : state}</p>
      <ul>
        {items.map(({ id, text }) => (
          <li key={id}>{text}</li>
        ))}
      </ul>
    </>
  );
}

export const App = ({ client, ...room }) => (
  <GatewayProvider client={client}>
    <Room {...room} />
  </GatewayProvider>
);
