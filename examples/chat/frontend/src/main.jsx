// Logs in, connects one client, and shows the chat.
import { useEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { GatewayClient } from '@emagine/gateway-client';
import { GatewayProvider } from '@emagine/gateway-client/react';
import * as api from './api.js';
import { Chat } from './chat.jsx';
import { Login } from './login.jsx';

/** A path is on the page's own host. */
function address(gateway) {
  if (!gateway.startsWith('/')) return gateway;
  return `${location.origin.replace(/^http/, 'ws')}${gateway}`;
}

function App() {
  // undefined: not known yet; null: not logged in.
  const [session, setSession] = useState();
  const begin = async () => {
    const user = await api.me();
    const client = new GatewayClient({ url: address(user.gateway), token: api.token });
    client.connect();
    setSession({ user, client });
  };
  useEffect(() => {
    begin().catch(() => setSession(null));
  }, []);
  if (session === undefined) return null;
  if (session === null) return <Login onDone={begin} />;
  return (
    <GatewayProvider client={session.client}>
      <Chat user={session.user} />
    </GatewayProvider>
  );
}

createRoot(document.getElementById('root')).render(<App />);
