//! `rewrite` of a server, as routes.

use super::{
    pcre::Expression,
    ranks::Rule,
    rewrites,
    servers::{Server, Share},
    toml::{Block, NOT_DONE, text},
    tree::{Directive, Tree},
    variables::Known,
    whole::whole_path,
};

/// Routes for the paths that a `rewrite` of a server changes, before all of its
/// locations.
pub(super) fn of_server(
    server: &Server<'_>,
    share: &Share,
    known: Known<'_>,
    tree: &Tree,
) -> Vec<Rule> {
    let rewrites = server.others.iter().filter(|other| other.name == "rewrite");
    let rule = |rewrite: &&Directive| {
        let place = tree.shown(rewrite.place);
        let expression = Expression::read(rewrite.argument(0), false);
        let regex = whole_path(&expression, false);
        let answer = rewrites::redirect(rewrite, known, |_| expression.is_exact);
        let mut block = Block::titled(&format!("rewrite of {place}"));
        match answer {
            Some(answer) => {
                rewrite.read();
                block.lines.push(answer);
            }
            None => {
                block.lines.push(NOT_DONE.to_owned());
                block.notes.push(rewrites::unknown(rewrite));
            }
        }
        let mut base = share.conditions();
        base.push(format!("path_regex = {}", text(&regex)));
        Rule {
            block,
            name: format!("{} rewrite", server.label()),
            base,
            expression: Some(regex),
            ..Rule::default()
        }
    };
    rewrites.map(rule).collect()
}
