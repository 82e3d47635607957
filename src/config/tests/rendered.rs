//! Mistakes as people and tools see them.

use super::{
    super::{Environment, parse},
    APP, read,
};

#[test]
fn a_mistake_is_shown_with_its_line_a_caret_and_help() {
    let text = "[[routes]]\nname = \"app\"\nupstream = \"ap\"\n".to_owned() + APP;
    insta::assert_snapshot!(read(&text).unwrap_err().render(false), @r#"
    error[unknown-name]: there is no upstream `ap`
     --> test.toml:3:12
      |
    3 | upstream = "ap"
      |            ^^^^ no such upstream
      |
      = help: did you mean `app`?

    1 error in the configuration
    "#);
}

#[test]
fn people_see_fifty_mistakes_and_the_number_of_all() {
    let text = "[[routes]]\nname = \"app\"\nupstream = \"ap\"\n".repeat(1000) + APP;
    let mistakes = read(&text).unwrap_err();
    let rendered = mistakes.render(false);
    assert_eq!(rendered.matches("error[").count(), 50);
    assert!(
        rendered.ends_with("\n\nand 1949 more\n\n1999 errors in the configuration\n"),
        "{rendered}"
    );
    assert_eq!(
        mistakes.to_json().as_array().unwrap().len(),
        1999,
        "tools get all mistakes"
    );
}

#[test]
fn two_places_of_one_mistake_are_shown_together() {
    let text = "[[listeners]]\nbind = \"[::]:80\"\n[[listeners]]\nbind = \"[::]:80\"\n[[routes]]\nname = \"a\"\nrespond = {}";
    insta::assert_snapshot!(read(text).unwrap_err().render(false), @r#"
    error[duplicate]: two listeners bind [::]:80
     --> test.toml:4:8
      |
    2 | bind = "[::]:80"
      |        --------- first here
    3 | [[listeners]]
    4 | bind = "[::]:80"
      |        ^^^^^^^^^
      |
      = help: keep one of the two

    1 error in the configuration
    "#);
}

#[test]
fn an_empty_file_gets_an_example() {
    let rendered = read("# soon\n").unwrap_err().render(false);
    assert!(
        rendered.starts_with("error[nothing-to-serve]: nothing to serve: it has no route"),
        "{rendered}"
    );
    assert!(
        rendered.contains("[[routes]]") && !rendered.contains('^'),
        "{rendered}"
    );
}

#[test]
fn the_example_for_an_empty_file_is_valid() {
    let help = read("").unwrap_err().list[0].help.clone().unwrap();
    let (_, example) = help.split_once("\n\n").unwrap();
    read(example).unwrap();
}

#[test]
fn colours_are_optional() {
    let diagnostics = read("x = 1").unwrap_err();
    assert!(
        diagnostics.render(true).contains('\u{1b}')
            && !diagnostics.render(false).contains('\u{1b}')
    );
}

#[test]
fn tools_get_an_array_of_objects() {
    let json = read("é = 1\n").unwrap_err().to_json();
    let first = &json[0];
    assert_eq!(first["code"], "syntax");
    assert_eq!(
        (&first["file"], &first["line"]),
        (&"test.toml".into(), &1.into())
    );
    let json = read("\n  routs = 1\n").unwrap_err().to_json();
    let one = json
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["code"] == "unknown-key")
        .unwrap();
    assert_eq!((&one["line"], &one["column"]), (&2.into(), &3.into()));
    assert_eq!(one["help"], "did you mean `routes`?");
}

#[test]
fn columns_count_characters() {
    let json = read("log = { level = \"é\", levl = 1 }")
        .unwrap_err()
        .to_json();
    assert_eq!(json[1]["column"], 22);
}

#[test]
fn values_from_the_environment_are_not_repeated() {
    let environment = Environment::from([("TOKEN".to_owned(), "hunter2\n".to_owned())]);
    let text = "[[routes]]\nname = \"a\"\nrespond = { headers = { x-token = \"${TOKEN}\" } }";
    let rendered = parse("test.toml", text, &environment)
        .unwrap_err()
        .render(false);
    assert!(
        rendered.contains("cannot be `${TOKEN}`") && !rendered.contains("hunter2"),
        "{rendered}"
    );
}
