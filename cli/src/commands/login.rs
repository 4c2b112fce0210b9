//! `berth login` and `berth logout`.

use std::io::{self, IsTerminal, Read};

use berth_runtime::store::{Kept, LoginOptions, login, logout};
use clap::Args;

use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::terminal;
use crate::ui::safe;

/// No password is longer; a file given by mistake is not read to its end.
const MAX_PASSWORD: u64 = 64 << 10;

/// Arguments of `login`.
#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// The registry; Docker Hub without it
    registry: Option<String>,
    /// User name
    #[arg(short, long, value_name = "NAME")]
    username: Option<String>,
    /// Password or token; others on this host can see it, `--password-stdin` they cannot
    #[arg(short, long, value_name = "TEXT", requires = "username")]
    password: Option<String>,
    /// Read the password from standard input
    #[arg(long, requires = "username", conflicts_with = "password")]
    password_stdin: bool,
}

/// Arguments of `logout`.
#[derive(Debug, Args)]
pub(crate) struct LogoutArgs {
    /// The registry; Docker Hub without it
    registry: Option<String>,
}

/// Keeps a user and password that the registry accepts.
pub(crate) async fn run(session: &Session, args: &LoginArgs) -> Result<Exit, Failure> {
    let registry = args.registry.as_deref().unwrap_or_default();
    let Some((user, password)) = who(session, args)? else { return Ok(Exit::Signal(2)) };
    let done = login(registry, &user, &password, &LoginOptions::default()).await?;
    if !done.was_asked {
        session.ui.note(&safe(&format!(" {} asks nobody to log in", done.registry)));
    }
    match done.kept {
        Kept::File(file) => session.ui.note(&safe(&format!(
            " The password is kept unencrypted in {}; a credential helper would keep it better",
            file.display()
        ))),
        Kept::Helper(name) => {
            session.ui.note(&safe(&format!(" The password is kept by docker-credential-{name}")));
        }
    }
    session.ui.data("Login Succeeded")?;
    Ok(Exit::Done)
}

/// Forgets what is kept for a registry.
pub(crate) async fn run_out(session: &Session, args: &LogoutArgs) -> Result<Exit, Failure> {
    let registry = args.registry.as_deref().unwrap_or_default();
    let (registry, known) = logout(registry, &LoginOptions::default()).await?;
    let told = match known {
        true => format!("Removing login credentials for {registry}"),
        false => format!("Not logged in to {registry}"),
    };
    session.ui.list([told])?;
    Ok(Exit::Done)
}

/// User and password, asked for if need be; `None` when the user thought better of it.
fn who(session: &Session, args: &LoginArgs) -> Result<Option<(String, String)>, Failure> {
    let user = match &args.username {
        Some(user) => user.clone(),
        None => ask_user()?,
    };
    if user.is_empty() || user.contains(':') {
        return Err(Failure::usage("a user name is not empty and has no colon"));
    }
    let password = match &args.password {
        Some(password) => Some(password.clone()),
        None if args.password_stdin => Some(read_password()?),
        None => {
            can_ask()?;
            session.ui.note("Password:");
            terminal::read_hidden()?
        }
    };
    match password {
        Some(password) if password.is_empty() => Err(Failure::usage("the password is empty")),
        password => Ok(password.map(|password| (user, password))),
    }
}

fn can_ask() -> Result<(), Failure> {
    if io::stdin().is_terminal() {
        return Ok(());
    }
    Err(Failure::usage("nobody can be asked for a user and password here")
        .with_help("`berth login -u NAME --password-stdin` reads the password from standard input"))
}

fn ask_user() -> Result<String, Failure> {
    can_ask()?;
    let mut user = String::new();
    let mut err = io::stderr().lock();
    let _ = io::Write::write_all(&mut err, b"Username: ");
    io::stdin().read_line(&mut user)?;
    Ok(user.trim().to_owned())
}

/// All of standard input but the end of its line.
fn read_password() -> Result<String, Failure> {
    let mut text = Vec::new();
    io::stdin().lock().take(MAX_PASSWORD + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_PASSWORD {
        return Err(Failure::usage("the password is longer than 64 KiB"));
    }
    let text = String::from_utf8(text).map_err(|_| Failure::usage("the password is not text"))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
