// Creates the parts of the page and connects them.

import { initKeyDialog } from "./api.js";
import { Channels } from "./channels.js";
import { Connection } from "./connection.js";
import { Control } from "./control.js";
import { markFeedsStale, refreshFeeds } from "./feed.js";
import { Frames } from "./frames.js";
import { Inbox } from "./messages.js";
import { initDialogs } from "./page.js";
import { Presence } from "./presence.js";
import { Publish } from "./publish.js";
import { Sessions } from "./sessions.js";
import { Status } from "./status.js";

initDialogs();
const frames = new Frames();
const publish = new Publish();
const control = new Control(() => sessions.refreshSoon());
const sessions = new Sessions(control);
new Channels(control);
new Presence();
new Inbox();
const status = new Status((now) => connection.updateStatus(now), markFeedsStale, () => connection.roundTrip);
const connection = new Connection(frames, () => status.latest, (channel, text) => publish.handleMessage(channel, text), () => sessions.refreshSoon());
initKeyDialog(() => {
  status.refresh();
  refreshFeeds();
});
status.refresh();
