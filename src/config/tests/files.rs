//! Files: which are read, in which order, and which ones a watcher gets.

use std::{fs, path::PathBuf};

use tempfile::TempDir;

use super::{
    super::{Code, Config, Diagnostics, Environment, load},
    read,
};

const ROUTE: &str = "[[routes]]\nname = \"main\"\nrespond = {}\n";

struct Folder(TempDir);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        files
            .iter()
            .for_each(|(name, text)| folder.write(name, text.as_bytes()));
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), bytes).unwrap();
    }

    fn load(&self) -> Result<Config, Diagnostics> {
        load(&self.path("tidegate.toml"), &Environment::new())
    }

    fn only(&self) -> (Code, String) {
        super::only(self.load())
    }
}

fn route(name: &str) -> String {
    format!("[[routes]]\nname = \"{name}\"\nrespond = {{}}\nmatch = {{ path = \"/{name}\" }}\n")
}

#[test]
fn included_files_are_read_in_name_order_as_if_written_at_the_include() {
    let main = format!("include = [\"conf.d/*.toml\"]\n{ROUTE}");
    let folder = Folder::new(&[
        ("tidegate.toml", &main),
        ("conf.d/b.toml", &route("b")),
        ("conf.d/a.toml", &route("a")),
        ("conf.d/notes.txt", "not = [toml"),
        ("conf.d/.hidden.toml", "not = [toml"),
    ]);
    let config = folder.load().unwrap();
    assert_eq!(
        config
            .routes
            .iter()
            .map(|route| &*route.name)
            .collect::<Vec<_>>(),
        ["a", "b", "main"]
    );
    let files: Vec<_> = ["tidegate.toml", "conf.d/a.toml", "conf.d/b.toml"]
        .map(|name| folder.path(name))
        .into();
    assert_eq!(config.watched.files(), files);
    assert_eq!(
        config.watched.folders,
        [(folder.path("conf.d"), "*.toml".to_owned())]
    );
}

#[test]
fn upstreams_limits_and_routes_of_several_files_can_refer_to_each_other() {
    let folder = Folder::new(&[
        (
            "tidegate.toml",
            "include = [\"up.toml\"]\n[[routes]]\nname = \"a\"\nupstream = \"app\"\n",
        ),
        ("up.toml", super::APP),
    ]);
    assert_eq!(folder.load().unwrap().upstreams.len(), 1);
}

#[test]
fn a_mistake_in_an_included_file_names_that_file() {
    let folder = Folder::new(&[
        ("tidegate.toml", &format!("include = [\"x.toml\"]\n{ROUTE}")),
        ("x.toml", "\nlgo = 1\n"),
    ]);
    let diagnostics = folder.load().unwrap_err();
    assert_eq!(diagnostics.list[0].file, folder.path("x.toml"));
    assert_eq!(diagnostics.list[0].place.as_ref().unwrap().line, 2);
}

#[test]
fn a_setting_in_two_files_is_a_mistake() {
    let main = format!("include = [\"x.toml\"]\n[log]\nlevel = \"info\"\n{ROUTE}");
    let folder = Folder::new(&[
        ("tidegate.toml", &main),
        ("x.toml", "log = { level = \"warn\" }"),
    ]);
    let (code, text) = folder.only();
    assert_eq!(code, Code::Duplicate);
    assert!(text.contains("`log.level` is given in two files"), "{text}");
}

#[test]
fn a_setting_in_two_forms_in_two_files_is_a_mistake() {
    let main = format!("include = [\"x.toml\"]\n{ROUTE}");
    let folder = Folder::new(&[
        ("tidegate.toml", &main),
        ("x.toml", "[routes]\nname = \"a\"\n"),
    ]);
    let (code, text) = folder.only();
    assert_eq!(code, Code::Conflict);
    let message = "`routes` is a list here, and a table in another file";
    assert!(text.contains(message), "{text}");
}

#[test]
fn a_file_that_includes_itself_is_read_once() {
    let folder = Folder::new(&[("tidegate.toml", &format!("include = [\"*.toml\"]\n{ROUTE}"))]);
    assert_eq!(folder.load().unwrap().routes.len(), 1);
}

#[test]
fn a_pattern_may_match_no_file_but_a_name_has_to_exist() {
    let folder = Folder::new(&[(
        "tidegate.toml",
        &format!("include = [\"conf.d/*.toml\"]\n{ROUTE}"),
    )]);
    assert_eq!(
        folder.load().unwrap().watched.folders,
        [(folder.path("conf.d"), "*.toml".to_owned())]
    );
    let folder = Folder::new(&[("tidegate.toml", &format!("include = [\"x.toml\"]\n{ROUTE}"))]);
    let (code, text) = folder.only();
    assert!(
        code == Code::Unreadable && text.contains("there is no such file"),
        "{text}"
    );
    assert_eq!(
        folder.load().unwrap_err().watched.files(),
        [folder.path("tidegate.toml"), folder.path("x.toml")]
    );
}

#[test]
fn a_file_that_cannot_be_read_is_reported_in_one_sentence() {
    let folder = Folder::new(&[]);
    assert!(folder.only().1.contains("there is no such file"));
    assert_eq!(
        folder.load().unwrap_err().watched.files(),
        [folder.path("tidegate.toml")]
    );
    folder.write("tidegate.toml", &[b'a', 0xff, 0]);
    assert!(folder.only().1.contains("is not text: byte 1 is not UTF-8"));
    folder.write("tidegate.toml", &vec![b' '; 17 << 20]);
    assert!(folder.only().1.contains("is longer than 16MiB"));
    fs::remove_file(folder.path("tidegate.toml")).unwrap();
    fs::create_dir(folder.path("tidegate.toml")).unwrap();
    assert!(folder.only().1.contains("it is a folder"));
}

#[test]
fn a_token_file_beside_the_configuration_is_read_watched_and_never_shown() {
    let main = format!("[admin]\ntoken_file = \"admin.token\"\n{ROUTE}");
    let folder = Folder::new(&[("tidegate.toml", &main), ("admin.token", "hunter2\n")]);
    let config = folder.load().unwrap();
    assert_eq!(
        config.admin.as_ref().unwrap().token.as_ref().unwrap().0,
        "hunter2"
    );
    assert!(config.watched.files().contains(&folder.path("admin.token")));
    assert_eq!(config.shown()["admin"]["token_file"], "admin.token");
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn a_password_file_beside_the_configuration_is_read_watched_and_never_shown() {
    let store = "[store]\nurl = \"redis://gate:sword@fish@store/1\"";
    let main = format!("{store}\npassword_file = \"redis.password\"\n{ROUTE}");
    let folder = Folder::new(&[("tidegate.toml", &main), ("redis.password", " hunter2\n")]);
    let config = folder.load().unwrap();
    let server = &config.store.as_ref().unwrap().servers[0];
    assert_eq!(server.password.as_ref().unwrap().0, " hunter2");
    assert!(
        config
            .watched
            .files()
            .contains(&folder.path("redis.password"))
    );
    assert_eq!(
        config.shown()["store"]["url"],
        "redis://gate:[redacted]@store/1"
    );
    let shown = |url: &str| {
        read(&format!("[store]\nurl = {url}\n{ROUTE}"))
            .unwrap()
            .shown()["store"]["url"]
            .clone()
    };
    assert_eq!(
        shown("\"redis://hunter2\""),
        "redis://[redacted]",
        "a password where the host belongs"
    );
    assert_eq!(
        shown("\"redis://hunter2@store\""),
        "redis://[redacted]@store"
    );
    assert_eq!(
        shown("[\"redis://a:1\", \"redis://10.0.0.1\"]"),
        serde_json::json!(["redis://a:1", "redis://10.0.0.1"])
    );
    assert!(!format!("{config:?}").contains("hunter2"));
    assert!(!config.shown().to_string().contains("fish"));
    for password in ["", "\n", "two\nlines"] {
        folder.write("redis.password", password.as_bytes());
        assert_eq!(folder.only().0, Code::Unreadable, "{password:?}");
    }
}

#[test]
fn an_invalid_token_is_refused_at_its_place() {
    let main = format!("[admin]\ntoken_file = \"admin.token\"\n{ROUTE}");
    for token in ["", " \n", "two words"] {
        let folder = Folder::new(&[("tidegate.toml", &main), ("admin.token", token)]);
        assert_eq!(folder.only().0, Code::Unreadable, "{token:?}");
    }
}

#[test]
fn a_write_right_after_the_read_is_a_change() {
    let main = format!("include = [\"conf.d/*.toml\"]\n{ROUTE}");
    let folder = Folder::new(&[
        ("tidegate.toml", &main),
        ("conf.d/a.toml", &route("a")),
        ("conf.d/notes.txt", ""),
    ]);
    let read = folder.load().unwrap().watched;
    assert_eq!(read.look_again(), read);
    folder.write("conf.d/notes.txt", b"not included");
    assert_eq!(read.look_again(), read);
    folder.write("conf.d/a.toml", route("another").as_bytes());
    assert_ne!(read.look_again(), read);
    let read = folder.load().unwrap().watched;
    folder.write("conf.d/b.toml", route("b").as_bytes());
    assert_ne!(read.look_again(), read);
}
