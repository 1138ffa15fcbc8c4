// The console: the parts of the page, put together.

import { prepareKey } from "./api.js";
import { Connection } from "./connection.js";
import { Frames } from "./frames.js";
import { prepareDialogs } from "./page.js";
import { Publish } from "./publish.js";
import { Sessions } from "./sessions.js";
import { Status } from "./status.js";

prepareDialogs();
const frames = new Frames();
const publish = new Publish();
const sessions = new Sessions();
const status = new Status((now) => connection.allow(now), (since) => sessions.markStale(since), () => connection.roundTrip);
const connection = new Connection(frames, () => status.now, (channel, text) => publish.heard(channel, text), () => sessions.soon());
prepareKey(() => {
  status.look();
  sessions.look();
});
status.look();
sessions.look();
