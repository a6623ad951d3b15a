//! What the history says about the electronic licence (电子驾驶证): events only. What follows from them is
//! [`crate::domain::elicence`]'s to say; no decision about driving reads them.

use crate::domain::closed_set::closed_set;

closed_set! {
    /// How an e-licence is applied for (`docs/domain.md` §0 no. 21-24).
    pub enum ELicencePath {
        /// The photo the authority holds is used: issued as soon as the holder confirmed and was recognised.
        StoredPhoto = 1, "stored-photo";
        /// A photo taken with the phone, reviewed.
        Camera = 2, "camera";
        /// An identity photo from the album, reviewed.
        Album = 3, "album";
        /// At the vehicle office that issued the licence, which reviews.
        Window = 4, "window";
    }
}

closed_set! {
    /// Why an e-licence was refused: every ground of the article (`docs/domain.md` §0 no. 18-30), and the fuller list of
    /// states of §2. The holder's to know, nobody else's.
    pub enum RefusalGround {
        /// The licence is not in its validity (no. 18).
        NotInValidity = 1, "not-in-validity";
        /// 扣留 (no. 19)
        Detained = 2, "detained";
        /// 暂扣 (no. 19)
        Suspended = 3, "suspended";
        /// 逾期未体检 (no. 19): there is no letter for it.
        MedicalOverdue = 4, "medical-overdue";
        /// 逾期未审验 (no. 19)
        ReviewOverdue = 5, "review-overdue";
        /// 公告停止使用 (no. 19)
        Stopped = 6, "stopped";
        /// 记满12分 (no. 13)
        PointsFull = 7, "points-full";
        /// 扣押
        Seized = 8, "seized";
        /// 锁定
        Locked = 9, "locked";
        /// 撤销
        Annulled = 10, "annulled";
        /// 吊销
        Revoked = 11, "revoked";
        /// 注销, restorable or not.
        Cancelled = 12, "cancelled";
        /// Never issued, transferred out, or a state nobody can read.
        StateUnresolved = 13, "state-unresolved";
        /// The account or the photo is not the holder's (no. 20), or face recognition failed (no. 25).
        NotTheHolder = 14, "not-the-holder";
        /// The background is not white (no. 22).
        PhotoBackground = 15, "photo-background";
        /// The clothes are not dark (no. 22).
        PhotoClothes = 16, "photo-clothes";
        /// Taken by the holder, not by someone else (no. 22).
        PhotoSelfTaken = 17, "photo-self-taken";
        /// The face was altered by technical means (no. 27).
        PhotoAltered = 18, "photo-altered";
        /// Composed of several pictures (no. 27).
        PhotoComposite = 19, "photo-composite";
        /// Hair over brows or ears (no. 29).
        PhotoHair = 20, "photo-hair";
        /// Beautified too much (no. 29).
        PhotoBeautified = 21, "photo-beautified";
        /// Deep neckline or no sleeves (no. 29).
        PhotoNeckline = 22, "photo-neckline";
        /// A high collar or a scarf hides the neck (no. 29).
        PhotoNeckHidden = 23, "photo-neck-hidden";
        /// Jewellery (no. 29), and glasses, which count as such (no. 30).
        PhotoJewellery = 24, "photo-jewellery";
        /// Glasses (no. 30).
        PhotoGlasses = 25, "photo-glasses";
        /// Bare chest or vest (no. 30).
        PhotoBareChest = 26, "photo-bare-chest";
        /// Head tilted or turned (no. 30).
        PhotoTilted = 27, "photo-tilted";
        /// Squinting (no. 30).
        PhotoSquinting = 28, "photo-squinting";
        /// Exaggerated expression (no. 30).
        PhotoExpression = 29, "photo-expression";
        /// Too bright or too dark (no. 30).
        PhotoLight = 30, "photo-light";
        /// Unbuttoned too far (no. 30).
        PhotoUnbuttoned = 31, "photo-unbuttoned";
        /// In uniform (no. 30).
        PhotoUniform = 32, "photo-uniform";
        /// The age shown is far from the real one (no. 30).
        PhotoAge = 33, "photo-age";
    }
}

/// What a refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalGroup {
    /// The licence's state or validity.
    State,
    /// The photo.
    Photo,
    /// The person.
    Holder,
}

impl RefusalGround {
    /// Says what the refusal is about.
    pub const fn group(self) -> RefusalGroup {
        match self.code() {
            0..=13 => RefusalGroup::State,
            14 => RefusalGroup::Holder,
            15.. => RefusalGroup::Photo,
        }
    }
}

/// One step in the life of an e-licence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ELicenceEvent {
    /// Applied for, the first time or after a refusal.
    Applied {
        /// How.
        path: ELicencePath,
    },
    /// A person reviews the photo (no. 22, 23, 25). When it is due follows from the calendar; being late decides nothing.
    UnderReview,
    /// Issued.
    Issued,
    /// Refused.
    Refused {
        /// Why.
        ground: RefusalGround,
    },
    /// The photo of an issued one was changed (no. 26).
    PhotoChanged,
    /// A completed 换证 made it out of date (no. 31).
    Superseded,
    /// The authority ended the service for abuse of the photo (no. 28).
    Withdrawn,
    /// Applied for anew after it was superseded or withdrawn (no. 17, 31).
    Reapplied {
        /// How.
        path: ELicencePath,
    },
}
