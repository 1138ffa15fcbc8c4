// Creates the parts of the page and connects them.

import { initKeyDialog } from "./api.js";
import { Channels } from "./channels.js";
import { Connection } from "./connection.js";
import { Control } from "./control.js";
import { initDialogs } from "./dialogs.js";
import { markFeedsStale, refreshFeeds } from "./feed.js";
import { Frames } from "./frames.js";
import { initKeys } from "./keys.js";
import { Inbox } from "./messages.js";
import { Overview } from "./overview.js";
import { Presence } from "./presence.js";
import { Publish } from "./publish.js";
import { Sessions } from "./sessions.js";
import { Status } from "./status.js";
import { initViews } from "./views.js";

initDialogs();
initKeys();
const frames = new Frames();
const publish = new Publish();
const overview = new Overview();
const control = new Control(() => sessions.refreshSoon());
const sessions = new Sessions(control);
new Channels(control);
new Presence();
new Inbox();
const status = new Status(showStatus, markFeedsStale, () => connection.roundTrip);
const connection = new Connection(frames, () => status.latest, (channel, text) => publish.handleMessage(channel, text), () => sessions.refreshSoon());
initKeyDialog(() => {
  status.refresh();
  refreshFeeds();
});
initViews();
status.refresh();

function showStatus(now) {
  overview.setOwn(now.replica);
  connection.updateStatus(now);
}
