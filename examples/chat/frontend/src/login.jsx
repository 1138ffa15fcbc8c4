import { useState } from 'react';
import * as api from './api.js';

export function Login({ onDone }) {
  const [problem, setProblem] = useState('');
  const submit = async (event) => {
    event.preventDefault();
    const form = new FormData(event.target);
    try {
      await api.login(form.get('name'), form.get('password'));
      await onDone();
    } catch (error) {
      setProblem(error instanceof api.Refused ? error.message : 'The server cannot be reached.');
    }
  };
  return (
    <form className="login" onSubmit={submit}>
      <h1>Chat</h1>
      <label>
        Name <input name="name" required maxLength={40} autoComplete="username" autoFocus />
      </label>
      <label>
        Password <input name="password" type="password" required autoComplete="current-password" />
      </label>
      <button>Log in</button>
      <p role="alert">{problem}</p>
      <p className="hint">A new name becomes an account with this password.</p>
    </form>
  );
}
