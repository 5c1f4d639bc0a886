//! Programs that keep credentials: `docker-credential-NAME`. They are asked on their standard input, so that nothing
//! secret stands in a list of processes.

use super::{Credential, Error, Secret};
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

/// Longest answer, bytes.
const MAX_ANSWER: u64 = 1 << 20;
/// How long one may take; some ask a person.
const PATIENCE: Duration = Duration::from_secs(120);
/// The user that stands for a token instead of a password.
const TOKEN_USER: &str = "<token>";
/// How a helper says that it knows nothing.
const UNKNOWN: &str = "credentials not found";

pub(super) struct Helper<'a> {
    program: String,
    path: &'a Path,
}

impl<'a> Helper<'a> {
    /// A helper by its name in the file at `path`; the name must not lead to another folder.
    pub(super) fn new(name: &str, path: &'a Path) -> Result<Self, Error> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let helper = Self { program: format!("docker-credential-{name}"), path };
        match !name.is_empty() && name.chars().all(allowed) {
            true => Ok(helper),
            false => Err(helper.failed("a helper's name may hold only A-Z, a-z, 0-9, '.', '_' and '-'")),
        }
    }

    pub(super) fn get(&self, server: &str) -> Result<Option<Credential>, Error> {
        let Some(answer) = self.run("get", server.as_bytes())? else { return Ok(None) };
        let answer: Option<Value> = serde_json::from_slice(&answer).ok();
        let text = |name| answer.as_ref()?.get(name)?.as_str().map(str::to_owned);
        let (Some(user), Some(secret)) = (text("Username"), text("Secret")) else {
            return Err(self.failed("its answer holds no Username and Secret"));
        };
        if user.is_empty() && secret.is_empty() {
            return Ok(None);
        }
        let secret = Secret::new(secret);
        Ok(Some(match user.as_str() {
            TOKEN_USER => Credential::Identity(secret),
            _ => Credential::Password { user, password: secret },
        }))
    }

    pub(super) fn store(&self, server: &str, user: &str, password: &Secret) -> Result<(), Error> {
        let question = json!({ "ServerURL": server, "Username": user, "Secret": password.expose() });
        self.run("store", question.to_string().as_bytes()).map(drop)
    }

    /// Whether there was anything to erase.
    pub(super) fn erase(&self, server: &str) -> Result<bool, Error> {
        let known = self.run("get", server.as_bytes())?.is_some();
        Ok(known && self.run("erase", server.as_bytes())?.is_some())
    }

    /// What the helper answered; `None` if it knows nothing.
    fn run(&self, action: &str, question: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let mut child = Command::new(&self.program)
            .arg(action)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| {
                self.failed(&format!("{error}; install it, or name another file with --authfile"))
            })?;
        let answer = self.talk(&mut child, question);
        if answer.is_none() {
            let _ = child.kill();
        }
        let status = child.wait().map_err(|error| self.failed(&error.to_string()))?;
        let answer = answer.ok_or_else(|| self.failed("it does not answer"))?;
        if status.success() {
            return Ok(Some(answer));
        }
        let said: String =
            String::from_utf8_lossy(&answer).chars().filter(|c| !c.is_control()).take(200).collect();
        if said.to_ascii_lowercase().contains(UNKNOWN) {
            return Ok(None);
        }
        Err(self.failed(&format!("{status}: {said}")))
    }

    /// `None` if it takes too long.
    fn talk(&self, child: &mut Child, question: &[u8]) -> Option<Vec<u8>> {
        if let Some(mut stdin) = child.stdin.take() {
            // One that does not listen will say why.
            let _ = stdin.write_all(question);
        }
        let stdout = child.stdout.take()?;
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let mut answer = Vec::new();
            let _ = stdout.take(MAX_ANSWER).read_to_end(&mut answer);
            let _ = sender.send(answer);
        });
        receiver.recv_timeout(PATIENCE).ok()
    }

    fn failed(&self, why: &str) -> Error {
        Error::Helper { program: self.program.clone(), path: PathBuf::from(self.path), why: why.to_owned() }
    }
}
