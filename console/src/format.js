// Texts for times, durations, sizes and counts.

// Formats a time of day.
export const formatTime = (date, hasMilliseconds = false) =>
  date.toTimeString().slice(0, 8) + (hasMilliseconds ? `.${String(date.getMilliseconds()).padStart(3, "0")}` : "");

export const formatDuration = (ms) => {
  const seconds = Math.floor(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
};

export const formatBytes = (count) => (count < 10240 ? `${count} B` : `${(count / 1024).toFixed(1)} KiB`);

export const formatShort = (value) => (value >= 100 ? String(Math.round(value)) : value.toFixed(1));

// Groups the digits of a count, independent of the language of the browser.
export const formatCount = (count) => String(count).replace(/\B(?=(\d{3})+$)/g, "\u202f");

export const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

const encoder = new TextEncoder();

export const byteLength = (text) => encoder.encode(text).length;
