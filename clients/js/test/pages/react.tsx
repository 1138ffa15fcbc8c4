// A component that uses the hooks in strict mode, in which React mounts every effect twice.
import { StrictMode, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { GatewayClient } from '../../dist/index.js';
import { useChannel, useGatewayState } from '../../dist/react.js';

declare const window: any;

function Room({ client }: { client: GatewayClient }) {
  const [name, setName] = useState('room:7');
  window.show = setName;
  const { messages, state, gap } = useChannel(client, name, { limit: 3 });
  const text = messages.map(({ message }) => message.n).join(' ');
  return <p id="room">{`${useGatewayState(client)} ${name} ${state} [${text}] ${gap ? gap.reason : 'whole'}`}</p>;
}

window.start = (url: string) => {
  const client = new GatewayClient({ url, token: '42', backoff: { baseMs: 5, maxMs: 50 } });
  client.connect();
  createRoot(document.getElementById('root')!).render(
    <StrictMode>
      <Room client={client} />
    </StrictMode>,
  );
};
