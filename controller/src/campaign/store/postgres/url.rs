//! A database's URL: what may stand in it, how it is shown, and where its password comes from.
//!
//! The way is encrypted and the server's name proven (`sslmode=verify-full`) unless the URL or PGSSLMODE says otherwise, or
//! the server is this machine: libpq's own default would take whoever answers. A word of the URL that is not known is refused,
//! since it might have been one of those.

use std::{
    fs::File,
    io::Read,
    net::IpAddr,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use sqlx::{ConnectOptions, postgres::PgConnectOptions, postgres::PgSslMode};
use url::Url;

use crate::model::trouble::{Kind, Trouble};

/// What may follow the question mark; what sqlx knows, and `passfile`.
const WORDS: [&str; 18] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
    "passfile",
];

/// Nobody has so many passwords.
const MAX_BYTES: u64 = 1 << 20;

const EXAMPLE: &str = "--store 'postgres://ROLE@HOST/DATABASE?passfile=/etc/trimtab/pgpass'";

/// Where a PostgreSQL database is. May hold a password: never shown as it is.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    written: String,
    /// Without what only we know.
    url: Url,
    passfile: Option<PathBuf>,
}

impl std::fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DatabaseUrl(…)")
    }
}

impl std::str::FromStr for DatabaseUrl {
    type Err = Trouble;

    /// What is wrong is said without the URL itself.
    fn from_str(text: &str) -> Result<Self, Trouble> {
        let wrong = |what: &str| {
            Trouble::new(Kind::Usage, format!("this is no URL of a PostgreSQL database: {what}"))
                .hint(EXAMPLE)
        };
        let mut url: Url = text.parse().map_err(|error: url::ParseError| {
            let what = "in a password write %23 for #, %2F for /, %3A for :, %40 for @";
            wrong(&format!("{error}; {what}"))
        })?;
        if !is_database(text) {
            return Err(wrong("it begins with postgres://"));
        }
        if url.fragment().is_some() {
            return Err(wrong("what follows # is none of it; in a password # is written %23"));
        }
        let words: Vec<(String, String)> =
            url.query_pairs().map(|(key, value)| (key.into_owned(), value.into_owned())).collect();
        if let Some((key, _)) = words.iter().find(|(key, _)| !WORDS.contains(&key.as_str())) {
            return Err(wrong(&format!("{key:?} is not known in it")));
        }
        let passfile = words.iter().find(|(key, _)| key == "passfile").map(|(_, value)| PathBuf::from(value));
        url.set_query(None);
        if words.iter().any(|(key, _)| key != "passfile") {
            let others = words.iter().filter(|(key, _)| key != "passfile");
            url.query_pairs_mut().extend_pairs(others);
        }
        let url = Self { written: text.to_owned(), url, passfile };
        if url.passfile.is_some() && url.has_password() {
            return Err(wrong("it has a password and a passfile"));
        }
        Ok(url)
    }
}

/// Whether this is meant as a database's URL and not as a file's name.
pub fn is_database(text: &str) -> bool {
    text.starts_with("postgres://") || text.starts_with("postgresql://")
}

impl DatabaseUrl {
    /// As it was written, with its password.
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// The name or address of the server, where that is another machine.
    pub fn server(&self) -> Option<String> {
        let (options, _) = self.options().ok()?;
        let is_here = options.get_socket().is_some() || is_this_machine(options.get_host());
        (!is_here).then(|| options.get_host().to_owned())
    }

    /// Whether the password stands in it.
    pub fn has_password(&self) -> bool {
        self.url.password().is_some() || self.url.query_pairs().any(|(key, _)| key == "password")
    }

    /// How sqlx connects, and how the database is shown: without a password.
    pub(super) fn options(&self) -> Result<(PgConnectOptions, String), Trouble> {
        let usage = |error: &dyn std::fmt::Display| {
            Trouble::new(Kind::Usage, format!("this is no URL of a PostgreSQL database: {error}"))
                .hint(EXAMPLE)
        };
        let mut options = PgConnectOptions::from_url(&self.url).map_err(|error| usage(&error))?;
        let (host, port) = (options.get_host().to_owned(), options.get_port());
        let role = options.get_username().to_owned();
        let database = options.get_database().unwrap_or(&role).to_owned();
        if let Some(file) = &self.passfile {
            options = options.password(&password(file, [&host, &port.to_string(), &database, &role])?);
        }
        let is_said = std::env::var_os("PGSSLMODE").is_some()
            || self.url.query_pairs().any(|(key, _)| key == "sslmode" || key == "ssl-mode");
        if !is_said && options.get_socket().is_none() && !is_this_machine(&host) {
            options = options.ssl_mode(PgSslMode::VerifyFull);
        }
        let place = options.get_socket().map_or(host, |path| path.display().to_string());
        Ok((options, format!("postgres://{role}@{place}:{port}/{database}")))
    }
}

fn is_this_machine(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        || host.starts_with('/')
}

/// The password of a line `host:port:database:role:password` that fits, as libpq has them (PostgreSQL's manual, "The
/// Password File"). A file that everybody may read is refused; a group may be let in, as systemd does for credentials.
fn password(file: &Path, wanted: [&str; 4]) -> Result<String, Trouble> {
    let about = |what: String| {
        Trouble::new(Kind::Config, format!("passfile {}: {what}", file.display()))
            .hint("a line is HOST:PORT:DATABASE:ROLE:PASSWORD, * fits all; keep the file from others (chmod o= FILE)")
    };
    let open = File::open(file).map_err(|error| about(error.to_string()))?;
    let mode = open.metadata().map_err(|error| about(error.to_string()))?.mode();
    if mode & 0o007 != 0 {
        return Err(about("every user of this host may use it".to_owned()));
    }
    let mut text = String::new();
    open.take(MAX_BYTES).read_to_string(&mut text).map_err(|error| about(error.to_string()))?;
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let mut fitting = lines.filter_map(|line| {
        let fields = fields(line);
        let (password, places) = fields.split_last()?;
        let fits = places.len() == wanted.len()
            && places.iter().zip(wanted).all(|(field, wanted)| field == "*" || field == wanted);
        fits.then(|| password.clone())
    });
    fitting.next().ok_or_else(|| about(format!("no line fits {}", wanted.join(":"))))
}

/// Five at most: a colon in the password needs no backslash.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        let many = fields.len();
        let Some(last) = fields.last_mut() else { break };
        match character {
            '\\' => last.extend(characters.next()),
            ':' if many < 5 => fields.push(String::new()),
            other => last.push(other),
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    fn refused(text: &str) -> String {
        let trouble = text.parse::<DatabaseUrl>().unwrap_err();
        assert_eq!(trouble.kind, Kind::Usage, "{trouble}");
        trouble.text
    }

    #[test]
    fn what_is_no_url_of_a_database_is_said_without_it() {
        for (url, what) in [
            ("postgres://op:s3cret@db:many/x", "invalid port number"),
            ("postgres://op:s3cret#1@db/x", "%23"),
            ("mysql://op:s3cret@db/x", "it begins with postgres://"),
            ("postgres://op:s3cret@db/x?sslmod=require", "\"sslmod\" is not known"),
            ("postgres://op:s3cret@db/x?passfile=/p", "a password and a passfile"),
        ] {
            let text = refused(url);
            assert!(text.contains(what) && !text.contains("cret"), "{url}: {text}");
        }
        let wrong: DatabaseUrl = "postgres://op:s3cret@db/x?sslmode=fast".parse().unwrap();
        let trouble = wrong.options().unwrap_err();
        assert!(trouble.text.contains("fast") && !trouble.text.contains("cret"), "{trouble}");
        assert!(!format!("{wrong:?}").contains("cret"));
    }

    #[test]
    fn a_server_elsewhere_proves_its_name() {
        for (url, mode) in [
            ("postgres://db.example/x", "VerifyFull"),
            ("postgres://10.0.0.1/x", "VerifyFull"),
            ("postgres://db.example/x?sslmode=require", "Require"),
            ("postgres://db.example/x?sslmode=disable", "Disable"),
            ("postgres://localhost/x", "Prefer"),
            ("postgres://127.0.0.1/x", "Prefer"),
            ("postgres://[::1]/x", "Prefer"),
            ("postgres://op@db/x?host=/run/postgresql", "Prefer"),
        ] {
            let (options, _) = url.parse::<DatabaseUrl>().unwrap().options().unwrap();
            assert_eq!(format!("{:?}", options.get_ssl_mode()), mode, "{url}");
        }
    }

    #[test]
    fn shown_without_a_password() {
        for (url, shown) in [
            ("postgres://op:s3cret@db/x", "postgres://op@db:5432/x"),
            ("postgres://op@db:6432?password=s3cret", "postgres://op@db:6432/op"),
            ("postgresql://op@ignored/x?host=/run/pg&port=5433", "postgres://op@/run/pg:5433/x"),
        ] {
            assert_eq!(url.parse::<DatabaseUrl>().unwrap().options().unwrap().1, shown);
        }
        let with = |url: &str| url.parse::<DatabaseUrl>().unwrap().has_password();
        assert!(with("postgres://op:x@db/x") && with("postgres://op@db/x?password=x"));
        assert!(!with("postgres://op@db/x?passfile=/p"));
    }

    #[test]
    fn a_passfile() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pgpass");
        fs::write(&file, "# comment\nother:*:*:op:no\ndb:5432:x:op:s3\\:c\\\\r:et\n*:*:*:*:last\n").unwrap();
        let may = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let found = |host: &str| password(&file, [host, "5432", "x", "op"]);
        may(0o440);
        assert_eq!(found("db").as_deref(), Ok("s3:c\\r:et"));
        assert_eq!(found("other").as_deref(), Ok("no"));
        assert_eq!(found("third").as_deref(), Ok("last"));
        may(0o604);
        let open = found("db").unwrap_err();
        assert!(open.text.ends_with("every user of this host may use it"), "{open}");
        may(0o600);
        fs::write(&file, "db:5432:y:op:no\n").unwrap();
        let none = found("db").unwrap_err();
        assert!(none.text.ends_with("no line fits db:5432:x:op"), "{none}");
        let url = format!("postgres://op@db/x?passfile={}", folder.path().join("gone").display());
        let gone = url.parse::<DatabaseUrl>().unwrap().options().unwrap_err();
        assert!(gone.kind == Kind::Config && gone.text.contains("No such file"), "{gone}");
    }
}
