//! Reads one file with `syn`: what it imports and names, its functions, its
//! types and its documentation.
//!
//! Items under `#[cfg(test)]` are left out of everything. Paths inside of
//! macros are found among their tokens, because a macro's arguments need not be
//! expressions.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Attribute, Expr, Fields, ImplItem, Item, Token, TraitItem, UseTree, Visibility,
    punctuated::Punctuated,
    spanned::Spanned,
    visit::{self, Visit},
};

/// The facts of one file.
#[derive(Default)]
pub struct Facts {
    /// By the module that they stand in: the file's own, and those that it
    /// declares in place.
    pub scopes: BTreeMap<Vec<String>, Scope>,
    pub imports: Vec<Import>,
    pub mentions: Vec<Mention>,
    pub functions: Vec<Function>,
    pub types: Vec<Type>,
    /// Modules that are declared under `#[cfg(test)]`.
    pub test_modules: Vec<Vec<String>>,
    /// Lines up to the last item that is not a test.
    pub length: usize,
    /// Expressions that are closures.
    pub closures: usize,
    /// `let` statements that take a tuple apart.
    pub tuple_lets: usize,
}

/// The names that a module declares itself.
#[derive(Default)]
pub struct Scope {
    pub items: BTreeSet<String>,
}

/// One name of a `use`.
pub struct Import {
    pub line: usize,
    /// The module whose `use` it is.
    pub module: Vec<String>,
    pub path: Vec<String>,
    /// The name by which the module knows it; `None` for `*`.
    pub name: Option<String>,
    /// Others may name it from here.
    pub is_re_export: bool,
}

/// A path in code, as it is written.
pub struct Mention {
    pub line: usize,
    pub module: Vec<String>,
    pub path: Vec<String>,
}

/// A function with a body.
pub struct Function {
    pub line: usize,
    /// `name`, or `Type::name` for a method.
    pub name: String,
    /// From `fn` to the closing brace.
    pub lines: usize,
}

impl Function {
    /// The name without the type.
    pub fn short(&self) -> &str {
        self.name.rsplit("::").next().unwrap_or(&self.name)
    }
}

/// A struct with named fields or an enum.
pub struct Type {
    pub line: usize,
    pub name: String,
    /// Names of the fields or of the variants.
    pub members: BTreeSet<String>,
    pub is_enum: bool,
}

/// Parses `raw`, the file of `module`.
pub fn read(raw: &str, module: &[String]) -> syn::Result<Facts> {
    let file = syn::parse_file(raw)?;
    let mut reader = Reader {
        module: module.to_vec(),
        owner: None,
        facts: Facts::default(),
    };
    reader.facts.scopes.entry(module.to_vec()).or_default();
    reader.visit_file(&file);
    let last_code = file.items.iter().filter(|item| !is_test_item(item));
    let last_item = last_code.map(|item| item.span().end().line).max();
    let opening = raw
        .lines()
        .take_while(|line| line.starts_with("//!"))
        .count();
    reader.facts.length = last_item.unwrap_or(0).max(opening);
    Ok(reader.facts)
}

struct Reader {
    module: Vec<String>,
    /// The type whose `impl` is being read, or the trait.
    owner: Option<String>,
    facts: Facts,
}

impl Reader {
    fn declare(&mut self, name: String) {
        let scope = self.facts.scopes.entry(self.module.clone()).or_default();
        scope.items.insert(name);
    }

    fn function(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let name = signature.ident.to_string();
        let name = match &self.owner {
            Some(owner) => format!("{owner}::{name}"),
            None => name,
        };
        let line = signature.fn_token.span.start().line;
        let lines = block.span().end().line - line + 1;
        self.facts.functions.push(Function { line, name, lines });
    }

    fn use_tree(&mut self, tree: &UseTree, before: &[String], is_re_export: bool) {
        let mut path = before.to_vec();
        let name = match tree {
            UseTree::Path(inner) => {
                path.push(inner.ident.to_string());
                return self.use_tree(&inner.tree, &path, is_re_export);
            }
            UseTree::Group(group) => {
                for inner in &group.items {
                    self.use_tree(inner, before, is_re_export);
                }
                return;
            }
            UseTree::Glob(_) => None,
            UseTree::Name(inner) if inner.ident == "self" => path.last().cloned(),
            UseTree::Name(inner) => {
                path.push(inner.ident.to_string());
                path.last().cloned()
            }
            UseTree::Rename(inner) => {
                if inner.ident != "self" {
                    path.push(inner.ident.to_string());
                }
                Some(inner.rename.to_string())
            }
        };
        self.facts.imports.push(Import {
            line: tree.span().start().line,
            module: self.module.clone(),
            path,
            name,
            is_re_export,
        });
    }

    /// Paths among the tokens of a macro: names joined by `::`.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut line = 0;
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(name) => {
                    if colons != 2 {
                        self.mention(line, std::mem::take(&mut path));
                        line = name.span().start().line;
                    }
                    path.push(name.to_string());
                    colons = 0;
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => {
                    self.mention(line, std::mem::take(&mut path));
                    colons = 0;
                    self.tokens(group.stream());
                }
                _ => {
                    self.mention(line, std::mem::take(&mut path));
                    colons = 0;
                }
            }
        }
        self.mention(line, path);
    }

    fn mention(&mut self, line: usize, path: Vec<String>) {
        let is_value = path == ["self"];
        if !path.is_empty() && !is_value {
            let module = self.module.clone();
            self.facts.mentions.push(Mention { line, module, path });
        }
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast Item) {
        if is_test_item(item) {
            if let Item::Mod(module) = item {
                let path = [&self.module[..], &[module.ident.to_string()]].concat();
                self.facts.test_modules.push(path);
            }
            return;
        }
        if let Some(name) = declared_name(item) {
            self.declare(name);
        }
        visit::visit_item(self, item);
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let attributes = match item {
            ImplItem::Fn(inner) => &inner.attrs,
            ImplItem::Const(inner) => &inner.attrs,
            _ => return visit::visit_impl_item(self, item),
        };
        if !is_for_tests(attributes) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_trait_item(&mut self, item: &'ast TraitItem) {
        if let TraitItem::Fn(function) = item
            && let Some(block) = &function.default
        {
            self.function(&function.sig, block);
        }
        visit::visit_trait_item(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if item.content.is_some() {
            self.module.push(item.ident.to_string());
            self.facts.scopes.entry(self.module.clone()).or_default();
            visit::visit_item_mod(self, item);
            self.module.pop();
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if item.leading_colon.is_none() {
            let is_re_export = !matches!(item.vis, Visibility::Inherited);
            self.use_tree(&item.tree, &[], is_re_export);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        let owner = self.owner.take();
        self.function(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
        self.owner = owner;
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let outer = self.owner.replace(type_name(&item.self_ty));
        visit::visit_item_impl(self, item);
        self.owner = outer;
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        let outer = self.owner.replace(item.ident.to_string());
        visit::visit_item_trait(self, item);
        self.owner = outer;
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        if let Fields::Named(fields) = &item.fields {
            let names = fields.named.iter().filter_map(|field| field.ident.as_ref());
            self.facts.types.push(Type {
                line: item.ident.span().start().line,
                name: item.ident.to_string(),
                members: names.map(ToString::to_string).collect(),
                is_enum: false,
            });
        }
        visit::visit_item_struct(self, item);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        let names = item
            .variants
            .iter()
            .map(|variant| variant.ident.to_string());
        self.facts.types.push(Type {
            line: item.ident.span().start().line,
            name: item.ident.to_string(),
            members: names.collect(),
            is_enum: true,
        });
        visit::visit_item_enum(self, item);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            let names = path
                .segments
                .iter()
                .map(|segment| segment.ident.to_string());
            let names = names.collect();
            self.mention(path.span().start().line, names);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, mac: &'ast syn::Macro) {
        self.visit_path(&mac.path);
        let parser = Punctuated::<Expr, Token![,]>::parse_terminated;
        match mac.parse_body_with(parser) {
            Ok(arguments) => {
                for argument in &arguments {
                    self.visit_expr(argument);
                }
            }
            Err(_) => self.tokens(mac.tokens.clone()),
        }
    }

    fn visit_expr_closure(&mut self, closure: &'ast syn::ExprClosure) {
        self.facts.closures += 1;
        visit::visit_expr_closure(self, closure);
    }

    fn visit_local(&mut self, local: &'ast syn::Local) {
        if matches!(local.pat, syn::Pat::Tuple(_)) {
            self.facts.tuple_lets += 1;
        }
        visit::visit_local(self, local);
    }

    /// `pub(in crate::layer)` depends on nothing.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_attribute(&mut self, _: &'ast Attribute) {}
}

fn declared_name(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(inner) => &inner.ident,
        Item::Enum(inner) => &inner.ident,
        Item::Fn(inner) => &inner.sig.ident,
        Item::Macro(inner) => inner.ident.as_ref()?,
        Item::Static(inner) => &inner.ident,
        Item::Struct(inner) => &inner.ident,
        Item::Trait(inner) => &inner.ident,
        Item::Type(inner) => &inner.ident,
        Item::Union(inner) => &inner.ident,
        _ => return None,
    };
    Some(name.to_string())
}

fn is_test_item(item: &Item) -> bool {
    let attributes = match item {
        Item::Const(inner) => &inner.attrs,
        Item::Enum(inner) => &inner.attrs,
        Item::Fn(inner) => &inner.attrs,
        Item::Impl(inner) => &inner.attrs,
        Item::Macro(inner) => &inner.attrs,
        Item::Mod(inner) => &inner.attrs,
        Item::Static(inner) => &inner.attrs,
        Item::Struct(inner) => &inner.attrs,
        Item::Trait(inner) => &inner.attrs,
        Item::Type(inner) => &inner.attrs,
        Item::Use(inner) => &inner.attrs,
        _ => return false,
    };
    is_for_tests(attributes)
}

/// `#[cfg(test)]`. With `any(test, fuzzing)` it is not only for tests.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<syn::Path>()
                .is_ok_and(|condition| condition.is_ident("test"))
    })
}

/// The last name of a type's path; for anything else, a word for its kind.
fn type_name(found: &syn::Type) -> String {
    match found {
        syn::Type::Path(path) => path
            .path
            .segments
            .last()
            .map_or_else(String::new, |segment| segment.ident.to_string()),
        syn::Type::Reference(reference) => type_name(&reference.elem),
        _ => "_".to_owned(),
    }
}
