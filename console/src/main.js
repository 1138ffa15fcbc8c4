// Creates the parts of the page and connects them.

import { initKeyDialog } from "./api.js";
import { Connection } from "./connection.js";
import { Frames } from "./frames.js";
import { initDialogs } from "./page.js";
import { Publish } from "./publish.js";
import { Sessions } from "./sessions.js";
import { Status } from "./status.js";

initDialogs();
const frames = new Frames();
const publish = new Publish();
const sessions = new Sessions();
const status = new Status((now) => connection.updateStatus(now), (since) => sessions.markStale(since), () => connection.roundTrip);
const connection = new Connection(frames, () => status.latest, (channel, text) => publish.handleMessage(channel, text), () => sessions.refreshSoon());
initKeyDialog(() => {
  status.refresh();
  sessions.refresh();
});
status.refresh();
sessions.refresh();
