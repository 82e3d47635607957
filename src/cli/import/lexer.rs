//! The words and signs of a file of NGINX, as `ngx_conf_read_token` finds them.
//!
//! A word ends at a blank, `;` or `{`, and may be in quotes as a whole. `#`
//! begins a comment only where a word could begin, and the brace of `${name}`
//! belongs to its word. A backslash makes the next character an ordinary one.
//!
//! Each byte is looked at once, and nothing here recurses.

/// Longest word in bytes. NGINX refuses longer ones, too, as they do not fit
/// into its buffer.
const LONGEST_WORD: usize = 4096;

/// A word or a sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// The name or an argument of a directive, without quotes and escapes.
    Word(String),
    /// `;`
    Semicolon,
    /// `{`
    Open,
    /// `}`
    Close,
    /// The end of the text.
    End,
}

/// Reads the tokens of one text.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    line: u32,
    /// Where the last token begins.
    begin: usize,
}

impl<'a> Lexer<'a> {
    /// At the beginning of the text. A byte order mark is skipped.
    pub(super) fn new(text: &'a [u8]) -> Self {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        Self {
            text,
            at: 0,
            line: 1,
            begin: 0,
        }
    }

    /// Where the last token begins, in bytes from the first one, and its bytes
    /// with quotes and escapes.
    pub(super) fn written(&self) -> (usize, &'a [u8]) {
        (self.begin, &self.text[self.begin..self.at])
    }

    /// The line of the next byte, from 1.
    pub(super) fn line(&self) -> u32 {
        self.line
    }

    /// The next token, and the line that it begins in.
    ///
    /// # Errors
    /// A quote without an end, a sign directly behind a quoted word, or a word
    /// of more than 4096 bytes, with the line that the word begins in.
    pub(super) fn next(&mut self) -> Result<(Token, u32), (u32, String)> {
        self.skip_blanks();
        let line = self.line;
        self.begin = self.at;
        let token = match self.peek() {
            None => return Ok((Token::End, line)),
            Some(b';') => Token::Semicolon,
            Some(b'{') => Token::Open,
            Some(b'}') => Token::Close,
            Some(quote @ (b'"' | b'\'')) => {
                let word = self.quoted(quote).map_err(|why| (line, why))?;
                return Ok((Token::Word(word), line));
            }
            Some(_) => {
                let word = self.bare().map_err(|why| (line, why))?;
                return Ok((Token::Word(word), line));
            }
        };
        self.bump();
        Ok((token, line))
    }

    /// Skips a block of Lua whose opening brace has been read, up to its closing
    /// brace. Braces in strings and comments of Lua do not count.
    ///
    /// # Errors
    /// The block has no end.
    pub(super) fn skip_lua(&mut self) -> Result<(), String> {
        let mut depth = 1_usize;
        while let Some(byte) = self.bump() {
            match byte {
                b'{' => depth += 1,
                b'}' => depth -= 1,
                b'"' | b'\'' => self.skip_string(byte),
                b'-' if self.text[self.at..].starts_with(b"-[[") => self.skip_long(),
                b'-' if self.peek() == Some(b'-') => self.skip_line(),
                b'[' if self.peek() == Some(b'[') => self.skip_long(),
                _ => {}
            }
            if depth == 0 {
                return Ok(());
            }
        }
        Err("a block of Lua has no end".to_owned())
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn bump(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        self.line += u32::from(byte == b'\n');
        Some(byte)
    }

    fn skip_blanks(&mut self) {
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => {
                    self.bump();
                }
                b'#' => self.skip_line(),
                _ => return,
            }
        }
    }

    fn skip_line(&mut self) {
        while self.peek().is_some_and(|byte| byte != b'\n') {
            self.at += 1;
        }
    }

    /// A string of Lua behind its opening quote.
    fn skip_string(&mut self, quote: u8) {
        while let Some(byte) = self.bump() {
            match byte {
                b'\\' => {
                    self.bump();
                }
                b'\n' => return,
                _ if byte == quote => return,
                _ => {}
            }
        }
    }

    /// `[[...]]` of Lua, a string or behind `--` a comment.
    fn skip_long(&mut self) {
        while self.peek().is_some() && !self.text[self.at..].starts_with(b"]]") {
            self.bump();
        }
        self.at = self.text.len().min(self.at + 2);
    }

    /// A word in quotes, behind which a blank, `;`, `{` or `)` has to stand.
    fn quoted(&mut self, quote: u8) -> Result<String, String> {
        self.bump();
        let mut word = Vec::new();
        loop {
            match self.bump() {
                None => return Err("a quote has no end".to_owned()),
                Some(byte) if byte == quote => break,
                Some(b'\\') => self.escaped(&mut word),
                Some(byte) => word.push(byte),
            }
            bounded(&word)?;
        }
        match self.peek() {
            None | Some(b' ' | b'\t' | b'\r' | b'\n' | b';' | b'{' | b')') => Ok(text(word)),
            Some(byte) => Err(format!(
                "{:?} stands directly behind a quote",
                char::from(byte)
            )),
        }
    }

    /// A word without quotes.
    fn bare(&mut self) -> Result<String, String> {
        let mut word = Vec::new();
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' | b';' => break,
                b'{' if word.last() != Some(&b'$') => break,
                b'\\' => {
                    self.bump();
                    self.escaped(&mut word);
                }
                _ => {
                    self.bump();
                    word.push(byte);
                }
            }
            bounded(&word)?;
        }
        Ok(text(word))
    }

    /// The meaning of a backslash and the byte behind it. Other escapes than those
    /// of NGINX stay as they are, for regular expressions.
    fn escaped(&mut self, word: &mut Vec<u8>) {
        match self.bump() {
            Some(byte @ (b'"' | b'\'' | b'\\')) => word.push(byte),
            Some(b't') => word.push(b'\t'),
            Some(b'r') => word.push(b'\r'),
            Some(b'n') => word.push(b'\n'),
            Some(byte) => word.extend([b'\\', byte]),
            None => word.push(b'\\'),
        }
    }
}

fn bounded(word: &[u8]) -> Result<(), String> {
    match word.len() > LONGEST_WORD {
        true => Err(format!("a word has more than {LONGEST_WORD} bytes")),
        false => Ok(()),
    }
}

/// Bytes that are no UTF-8 are replaced: no name or path that can be carried
/// over has them.
fn text(word: Vec<u8>) -> String {
    match String::from_utf8(word) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(text: &str) -> Result<Vec<String>, (u32, String)> {
        let mut lexer = Lexer::new(text.as_bytes());
        let mut found = Vec::new();
        loop {
            match lexer.next()?.0 {
                Token::Word(word) => found.push(word),
                Token::End => return Ok(found),
                sign => found.push(format!("{sign:?}")),
            }
        }
    }

    #[test]
    fn words_have_quotes_escapes_and_variables_as_in_nginx() {
        assert_eq!(
            words("a 'b c' \"d\\\"e\" f\\ g ${h}i j\\.k l#m # n\n}").unwrap(),
            [
                "a", "b c", "d\"e", "f\\ g", "${h}i", "j\\.k", "l#m", "Close"
            ]
        );
        assert_eq!(
            words("if ($a = \"b\") { x '\\t\\n' ; }").unwrap(),
            [
                "if",
                "($a",
                "=",
                "b",
                ")",
                "Open",
                "x",
                "\t\n",
                "Semicolon",
                "Close"
            ]
        );
    }

    #[test]
    fn a_quote_without_an_end_names_its_line() {
        assert_eq!(
            words("a;\nb 'c\nd").unwrap_err(),
            (2, "a quote has no end".to_owned())
        );
        assert!(words("'a'b").unwrap_err().1.contains("behind a quote"));
        assert!(words(&"a".repeat(4097)).is_err() && words(&"a".repeat(4096)).is_ok());
    }

    #[test]
    fn braces_in_texts_of_lua_do_not_end_its_block() {
        let text = "x { local a = \"}\" -- }\n local b = [[ } ]] --[[ } ]] if {} then end } y";
        let mut lexer = Lexer::new(text.as_bytes());
        lexer.next().unwrap();
        lexer.next().unwrap();
        lexer.skip_lua().unwrap();
        assert_eq!(lexer.next().unwrap(), (Token::Word("y".to_owned()), 2));
    }

    proptest! {
        #[test]
        fn any_bytes_are_tokens_or_a_mistake(bytes: Vec<u8>) {
            let mut lexer = Lexer::new(&bytes);
            // Each token takes at least a byte, so that the work is linear.
            let most = bytes.len() + 1;
            let mut seen = 0;
            while let Ok((token, _)) = lexer.next() {
                seen += 1;
                if token == Token::End { break; }
            }
            prop_assert!(seen <= most);
        }
    }
}
