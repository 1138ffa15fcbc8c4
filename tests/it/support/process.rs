//! Runs the gateway's own binary.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use tempfile::TempDir;

use super::deadline::eventually;

/// The deadline of every wait: long enough for a busy machine, and never reached in a passing test.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A running process of the gateway's binary, in its own empty folder. Killed on drop.
pub(crate) struct Process {
    child: Child,
    out: Lines,
    err: Lines,
    _folder: TempDir,
}

/// The result of a process.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit code; `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    /// The standard output.
    pub(crate) out: String,
    /// The standard error.
    pub(crate) err: String,
}

impl Process {
    /// Starts the binary with these arguments and environment variables, without the tests' own settings.
    pub(crate) fn start<A: AsRef<str>>(arguments: &[A], environment: &[(&str, &str)]) -> Self {
        Self::spawn(Command::new(env!("CARGO_BIN_EXE_emagine-gateway")), arguments, environment)
    }

    /// Starts the binary as [`start`](Self::start) does, with a limit of open files.
    pub(crate) fn start_with_files<A: AsRef<str>>(
        files: u32,
        arguments: &[A],
        environment: &[(&str, &str)],
    ) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", r#"ulimit -n "$1" && shift && exec "$@""#, "sh", &files.to_string()]);
        command.arg(env!("CARGO_BIN_EXE_emagine-gateway"));
        Self::spawn(command, arguments, environment)
    }

    fn spawn<A: AsRef<str>>(mut command: Command, arguments: &[A], environment: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().unwrap();
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("GATEWAY_") {
                command.env_remove(name);
            }
        }
        let mut child = command
            .args(arguments.iter().map(AsRef::as_ref))
            .env("RUST_LOG", "info")
            .envs(environment.iter().copied())
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = Lines::collect(child.stdout.take().unwrap());
        let err = Lines::collect(child.stderr.take().unwrap());
        Self { child, out, err, _folder: folder }
    }

    /// Sends a signal, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    /// The number of open files and sockets.
    #[cfg(target_os = "linux")]
    #[track_caller]
    pub(crate) fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// The ids and command lines of the running child processes.
    #[cfg(target_os = "linux")]
    #[track_caller]
    pub(crate) fn children(&self) -> Vec<(u32, String)> {
        let own = self.child.id().to_string();
        let parent = |id: u32| {
            let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
            // The process name, in brackets before the parent's id, may contain any character.
            stat.rsplit_once(") ")?.1.split(' ').nth(1).map(str::to_owned)
        };
        let entries = std::fs::read_dir("/proc").unwrap();
        let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let own_children = ids.filter(|id| parent(*id).as_ref() == Some(&own));
        own_children.filter_map(|id| Some((id, command_of(id)?))).collect()
    }

    /// The ids of the threads with this name.
    #[cfg(target_os = "linux")]
    #[track_caller]
    pub(crate) fn threads(&self, name: &str) -> Vec<i32> {
        let folder = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let has_name = |path: &std::path::PathBuf| {
            std::fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim_end() == name)
        };
        let threads = folder.map(|entry| entry.unwrap().path()).filter(has_name);
        threads.map(|path| path.file_name().unwrap().to_str().unwrap().parse().unwrap()).collect()
    }

    /// The peak memory of the process so far, in KiB.
    #[cfg(target_os = "linux")]
    #[track_caller]
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Waits for the process to exit.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> Ended {
        let status = eventually(SOON, || self.child.try_wait().unwrap());
        self.out.wait();
        self.err.wait();
        Ended { code: status.code(), out: self.out.text(), err: self.err.text() }
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// The standard error so far.
    pub(crate) fn err(&self) -> String {
        self.err.text()
    }

    /// Stops reading standard error until the guard is dropped. Writers block once the pipe is full.
    pub(crate) fn block_stderr_reader(&self) -> MutexGuard<'_, Vec<String>> {
        self.err.lines.lock().unwrap()
    }

    /// Waits until a line of standard error contains `text`; returns the rest of the line.
    #[track_caller]
    pub(crate) fn wait_for_stderr(&mut self, text: &str) -> String {
        eventually(SOON, || {
            let found = self.err.find(text);
            assert!(
                found.is_some() || !self.has_ended(),
                "the process exited without printing {text:?}: {}",
                self.wait().err
            );
            found
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command line of a process; `None` once it has exited.
#[cfg(target_os = "linux")]
pub(crate) fn command_of(id: u32) -> Option<String> {
    let bytes = std::fs::read(format!("/proc/{id}/cmdline")).ok()?;
    let text = String::from_utf8_lossy(&bytes).replace('\0', " ");
    (!text.is_empty()).then_some(text)
}

/// Runs one command and waits for its exit.
#[track_caller]
pub(crate) fn run<A: AsRef<str>>(arguments: &[A]) -> Ended {
    run_in(arguments, &[])
}

/// Runs one command with environment variables and waits for its exit.
#[track_caller]
pub(crate) fn run_in<A: AsRef<str>>(arguments: &[A], environment: &[(&str, &str)]) -> Ended {
    Process::start(arguments, environment).wait()
}

/// The lines of a pipe, read by a thread so that the writer never blocks.
struct Lines {
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Lines {
    fn collect(pipe: impl Read + Send + 'static) -> Self {
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let shared = Arc::clone(&lines);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                shared.lock().unwrap().push(line);
            }
        });
        Self { lines, reader: Some(reader) }
    }

    /// Waits for the end of the pipe.
    fn wait(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
    }

    fn text(&self) -> String {
        self.lines.lock().unwrap().iter().map(|line| format!("{line}\n")).collect()
    }

    fn find(&self, text: &str) -> Option<String> {
        let lines = self.lines.lock().unwrap();
        lines.iter().find_map(|line| Some(line.split_once(text)?.1.to_owned()))
    }
}
