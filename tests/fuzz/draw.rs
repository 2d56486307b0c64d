//! Decisions drawn from bytes, and inputs that are changed by them.

/// The longest input that an edit makes.
const MAX_INPUT: usize = 16 * 1024;
/// Bytes that parsers of text and of protobuf tell apart.
const TELLING: &[u8] = b"\0\x01\x0a\x0d\x7f\x80\xc3\xff\"',;:/-.{}[]<>&=#\\ ";

/// Decisions drawn from bytes; when they run out, every answer is the simplest.
pub struct Draw<'b> {
    bytes: &'b [u8],
}

impl<'b> Draw<'b> {
    pub fn new(bytes: &'b [u8]) -> Self {
        Self { bytes }
    }

    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        *first
    }

    /// Below a bound, which is at least 1.
    pub fn number(&mut self, below: usize) -> usize {
        let first = usize::from(self.byte());
        if below <= 256 { first % below } else { (first * 256 + usize::from(self.byte())) % below }
    }

    /// In one case of so many, at least 2; never when the bytes have run out.
    pub fn once_in(&mut self, cases: usize) -> bool {
        self.number(cases) == cases - 1
    }

    pub fn of<'a>(&mut self, values: &[&'a str]) -> &'a str {
        values[self.number(values.len())]
    }

    /// At most so many elements.
    pub fn list<T>(&mut self, most: usize, mut element: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let count = self.number(most + 1);
        (0..count).map(|_| element(self)).collect()
    }

    /// At most so many bytes, whatever they are.
    pub fn noise(&mut self, most: usize) -> Vec<u8> {
        self.list(most, Self::byte)
    }

    /// So many bytes.
    pub fn exactly<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.byte())
    }

    /// Pieces of a grammar put together, at most so many.
    pub fn pieces(&mut self, words: &[&str], most: usize) -> String {
        self.list(most, |draw| draw.of(words)).concat()
    }

    /// Changes an input at a place or a few; `words` are pieces of its grammar.
    pub fn edit(&mut self, input: &mut Vec<u8>, words: &[&str]) {
        for _ in 0..=self.number(4) {
            self.edit_once(input, words);
        }
        input.truncate(MAX_INPUT);
    }

    fn edit_once(&mut self, input: &mut Vec<u8>, words: &[&str]) {
        let at = self.number(input.len() + 1);
        let end = (at + 1 + self.number(24)).min(input.len());
        match self.number(8) {
            0 => input.truncate(at),
            1 => {
                let bit = self.number(8);
                input[at..end].iter_mut().take(1).for_each(|byte| *byte ^= 1 << bit);
            }
            2 => {
                let byte = TELLING[self.number(TELLING.len())];
                input[at..end].iter_mut().take(1).for_each(|place| *place = byte);
            }
            3 => drop(input.drain(at..end)),
            4 => {
                let word = if words.is_empty() { "" } else { self.of(words) };
                drop(input.splice(at..at, word.bytes()));
            }
            5 => input.insert(at, TELLING[self.number(TELLING.len())]),
            6 => {
                let part = input[at..end].to_vec();
                let to = self.number(input.len() + 1);
                drop(input.splice(to..to, part));
            }
            // Past the bounds that lists and texts have.
            _ => {
                let part = input[at..end].repeat(1 + self.number(400));
                drop(input.splice(end..end, part));
            }
        }
    }
}
