//! Whom containers of an image would run as, before there is one.

use super::Host;
use super::view::ImageView;
use crate::container::users;

impl Host {
    /// The id of `user`, or of the image's own user, in a container of the image; `None` when the
    /// image is not here, or does not know such a user.
    pub fn uid_in(&self, image: &str, user: Option<&str>) -> Option<u32> {
        let entry = self.store.resolve(image).ok()??;
        let config = self.store.config(&entry.id).ok()?;
        let view = ImageView::open(&self.store.layers(&entry.id).ok()?).ok()?;
        let user = user.or(config.user.as_deref()).unwrap_or_default();
        let ids = users::resolve(&|path| view.read_text(path), user, &[]).ok()?;
        Some(ids.uid)
    }
}
