//! A page of a list, as the text of its answer. It ends at its limit or at 1 MiB.

use actix_web::{HttpResponse, http::header::ContentType};
use ifmatch_store::StoreError;
use serde::Serialize;

/// Maximum size of a page's items, in bytes. A single item may be larger.
const PAGE_BYTES_MAX: usize = 1024 * 1024;
/// Maximum rows of the first read of a page. Later reads are fitted to the size of its items.
const FIRST_ROWS: i64 = 51;

/// A page that is being written.
pub struct PageText<T> {
    text: String,
    limit: i64,
    count: i64,
    last: Option<T>,
    has_more: bool,
}

impl<T: Serialize> PageText<T> {
    fn new(limit: i64) -> Self {
        let text = r#"{"items":["#.to_owned();
        Self { text, limit, count: 0, last: None, has_more: false }
    }

    /// A page of items that are in memory: one more than its limit, if there are so many.
    pub fn of(items: Vec<T>, limit: i64) -> Self {
        let mut page = Self::new(limit);
        page.fill(items);
        page
    }

    /// Reads a page, some rows at a time, so that large items take no more memory than small ones.
    ///
    /// `read` gets the last item so far and the number of rows to read.
    ///
    /// # Errors
    ///
    /// Those of `read`.
    pub fn read(
        limit: i64,
        mut read: impl FnMut(Option<&T>, i64) -> Result<Vec<T>, StoreError>,
    ) -> Result<Self, StoreError> {
        let mut page = Self::new(limit);
        loop {
            let rows = page.next_rows();
            let items = read(page.last.as_ref(), rows)?;
            let is_end = i64::try_from(items.len()).is_ok_and(|count| count < rows);
            page.fill(items);
            if is_end || page.has_more {
                return Ok(page);
            }
        }
    }

    /// How many rows probably fill the page. One more than its limit tells whether there are more.
    fn next_rows(&self) -> i64 {
        let missing = self.limit.saturating_sub(self.count).saturating_add(1);
        let written = i64::try_from(self.text.len()).unwrap_or(i64::MAX);
        let most = i64::try_from(PAGE_BYTES_MAX).unwrap_or(i64::MAX);
        let fitting = match written.checked_div(self.count) {
            Some(size) => most.saturating_sub(written).checked_div(size.max(1)).unwrap_or_default(),
            None => FIRST_ROWS.saturating_sub(1),
        };
        missing.min(fitting.max(0).saturating_add(1))
    }

    /// Adds items until the page is full.
    fn fill(&mut self, items: Vec<T>) {
        for item in items {
            let json = serde_json::to_string(&item).expect("items are plain JSON");
            let is_full = self.text.len().saturating_add(json.len()) > PAGE_BYTES_MAX;
            if self.count >= self.limit || (is_full && self.count > 0) {
                self.has_more = true;
                return;
            }
            if self.count > 0 {
                self.text.push(',');
            }
            self.text.push_str(&json);
            self.count = self.count.saturating_add(1);
            self.last = Some(item);
        }
    }

    /// The answer. If there are more items, it has the cursor after the last one.
    pub fn answer(self, cursor_after: impl FnOnce(&T) -> String) -> HttpResponse {
        let Self { mut text, last, has_more, .. } = self;
        let next_cursor = last.as_ref().filter(|_| has_more).map(cursor_after);
        let next_cursor = serde_json::to_string(&next_cursor).expect("a text is plain JSON");
        text.push_str(r#"],"next_cursor":"#);
        text.push_str(&next_cursor);
        text.push('}');
        HttpResponse::Ok().content_type(ContentType::json()).body(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::body::MessageBody;
    use serde_json::{Value, json};

    async fn shown<T: Serialize>(page: PageText<T>, cursor: impl FnOnce(&T) -> String) -> Value {
        let body = page.answer(cursor).into_body().try_into_bytes().unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    /// Rows of a table with so many texts of this size, and the numbers of rows that were read.
    fn read(limit: i64, rows: i64, size: usize) -> (PageText<(i64, String)>, Vec<i64>) {
        let mut reads = Vec::new();
        let page = PageText::read(limit, |last: Option<&(i64, String)>, asked| {
            reads.push(asked);
            let begin = last.map_or(0, |last| last.0 + 1);
            Ok((begin..rows.min(begin + asked)).map(|row| (row, "x".repeat(size))).collect())
        });
        (page.unwrap(), reads)
    }

    #[actix_web::test]
    async fn a_page_ends_at_its_limit() {
        let page = shown(PageText::of(vec![1, 2, 3], 2), i32::to_string).await;
        assert_eq!(page, json!({"items": [1, 2], "next_cursor": "2"}));
        let page = shown(PageText::of(vec![1, 2], 2), i32::to_string).await;
        assert_eq!(page, json!({"items": [1, 2], "next_cursor": null}));
        let page = shown(PageText::of(Vec::new(), 2), i32::to_string).await;
        assert_eq!(page, json!({"items": [], "next_cursor": null}));
    }

    #[test]
    fn small_items_are_read_in_two_statements_at_most() {
        let (page, reads) = read(50, 1_000, 10);
        assert_eq!((page.count, page.has_more, reads), (50, true, vec![51]));
        let (page, reads) = read(200, 1_000, 10);
        assert_eq!((page.count, page.has_more, reads), (200, true, vec![51, 150]));
        let (page, reads) = read(200, 60, 10);
        assert_eq!((page.count, page.has_more, reads), (60, false, vec![51, 150]));
    }

    #[test]
    fn a_page_of_large_items_ends_at_a_mebibyte_and_reads_little_more() {
        let (page, reads) = read(200, 1_000, 60_000);
        assert_eq!((page.count, page.has_more), (17, true));
        assert_eq!(reads, [51]);
        let (page, reads) = read(200, 1_000, 15_000);
        assert!(page.has_more && page.text.len() <= PAGE_BYTES_MAX);
        assert_eq!((page.count, reads), (69, vec![51, 19]));
        let (page, _) = read(200, 1_000, 2_000_000);
        assert_eq!((page.count, page.has_more), (1, true), "a page has one item at least");
    }
}
