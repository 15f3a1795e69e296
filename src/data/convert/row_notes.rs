//! Why a row was left out, and what was changed in a row that was kept: stable codes and their meaning.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Defines an enum whose members have a stable machine name and a sentence for people.
macro_rules! coded {
    ($(#[$doc:meta])* $name:ident { $($member:ident = $code:literal, $text:literal;)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($member),+ }

        impl $name {
            /// The stable machine name.
            pub fn code(self) -> &'static str {
                match self { $(Self::$member => $code),+ }
            }
            /// What it means, as the end of "3 of 9 rows ...: ".
            pub fn text(self) -> &'static str {
                match self { $(Self::$member => $text),+ }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(self.code())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let code = std::borrow::Cow::<str>::deserialize(d)?;
                match &*code {
                    $($code => Ok(Self::$member),)+
                    other => Err(serde::de::Error::custom(format!("unknown code {other}"))),
                }
            }
        }
    };
}

coded! {
    /// Why a row was left out.
    Reason {
        NoImageBytes = "no_image_bytes", "no embedded bytes for the picture";
        UnknownFormat = "unknown_format", "the picture has an unknown format";
        TruncatedPicture = "truncated_picture", "the picture is cut off";
        BrokenPicture = "broken_picture", "the picture does not decode";
        UnsupportedPicture = "unsupported_picture", "the picture uses a feature that is not supported";
        PictureTooLarge = "picture_too_large", "the picture is too large";
        EmptyCaption = "empty_caption", "the caption is missing or empty";
        CaptionNotText = "caption_not_text", "the caption is not UTF-8 text";
        MediaMark = "media_mark_in_caption", "the caption contains a picture, video or audio mark, which would count as one";
        PathOutside = "path_outside", "the picture is not embedded, and its path leads nowhere in the folder named with --image-root";
        UnreadableRows = "unreadable_rows", "the parquet data cannot be read here";
    }
}

coded! {
    /// What was changed or is worth knowing in a row that was kept.
    Notice {
        Reencoded = "reencoded", "the format was changed to PNG";
        SixteenBit = "sixteen_bit", "16-bit pixels were scaled to 8 bits";
        Stretched = "stretched", "pixels that do not use their whole range were stretched to 0..255";
        Alpha = "alpha", "transparency was composited on black";
        Palette = "palette", "palette or low-bit pixels were expanded to 8 bits";
        Orientation = "orientation", "the EXIF orientation was applied";
        FirstFrame = "first_frame", "only the first frame or page was taken";
        Cmyk = "cmyk", "CMYK colours were converted to RGB";
        Irregular = "irregular", "the file holds something that Pillow may refuse (odd headers, long packed text): written anew as PNG";
        MadeId = "made_id", "there was no id: one was made from file name and row";
        IdNotText = "id_not_text", "the id is not UTF-8 text: one was made from file name and row";
        RenamedId = "renamed_id", "the id cannot be a file name as it is: the picture's file is named differently";
        DuplicateId = "duplicate_id", "the id was used before: the picture's file name got a number";
        DuplicatePicture = "duplicate_picture", "the picture's bytes are those of an earlier row; both stay on one side of the split";
        TakenName = "taken_name", "a file of this name is another data set's: the picture's file name got a number";
        SpecialToken = "special_token", "the caption contains text that the model reads as a control token";
    }
}
