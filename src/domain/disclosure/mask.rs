//! Masked names. Made here and nowhere else; by character, never by byte.

use crate::domain::licence::FullName;

/// A name of which only the first character (or the compound surname) can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaskedName(String);

impl MaskedName {
    /// Masks a name (`docs/domain.md` §5):
    ///
    /// | name | mask |
    /// |---|---|
    /// | two Han characters | 张* |
    /// | three and more | 张** |
    /// | a compound surname | 欧阳* |
    /// | parts with a middle dot | 阿***·买*** |
    /// | Latin letters | S*** |
    ///
    /// Masks do not tell how long a name is, but for two or three Han characters, which is custom.
    pub(super) fn of(name: &FullName) -> Self {
        let name = name.expose();
        if name.contains(MIDDLE_DOT) {
            let parts: Vec<String> = name.split(MIDDLE_DOT).take(PARTS_MAX).map(first_and_stars).collect();
            return Self(parts.join("·"));
        }
        let is_han = name.chars().all(|char| matches!(char, '\u{2E80}'..='\u{9FFF}' | '\u{E000}'..='\u{FAFF}' | '\u{20000}'..='\u{3FFFF}'));
        if !is_han {
            return Self(first_and_stars(name));
        }
        let characters = name.chars().count();
        let compound = COMPOUND_SURNAMES.iter().find(|surname| name.starts_with(**surname));
        match compound {
            // 欧阳 alone would be the whole name.
            Some(surname) if characters > 2 => Self(format!("{surname}*")),
            _ => Self(name.chars().take(1).collect::<String>() + if characters > 2 { "**" } else { "*" }),
        }
    }

    /// Reads a mask that was shown before; `None` when the text cannot be one: it shows more than a mask may, or does not end as
    /// one does.
    pub fn shown_before(text: &str) -> Option<Self> {
        let readable = text.chars().filter(|char| !matches!(char, '*' | '·'));
        let is_mask = text.ends_with('*') && readable.count() <= READABLE_MAX;
        (is_mask && text.len() <= MASK_BYTES_MAX).then(|| Self(text.to_owned()))
    }

    /// Returns the mask.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A compound surname, or the first characters of two parts.
const READABLE_MAX: usize = 2;
/// Two characters, a dot and six stars.
const MASK_BYTES_MAX: usize = 16;

const MIDDLE_DOT: char = '\u{00B7}';

/// More parts than given name and father's name are not shown.
const PARTS_MAX: usize = 2;

fn first_and_stars(part: &str) -> String {
    part.trim_start().chars().take(1).chain("***".chars()).collect()
}

/// Compound surnames (复姓) in use.
const COMPOUND_SURNAMES: &[&str] = &[
    "欧阳", "司马", "上官", "诸葛", "东方", "皇甫", "尉迟", "公孙", "慕容", "令狐", "司徒", "司空", "夏侯",
    "轩辕", "宇文", "长孙", "端木", "独孤", "南宫", "西门", "东郭", "呼延", "百里", "闻人", "澹台", "公羊",
    "公冶", "太史", "申屠", "钟离", "濮阳", "淳于", "单于", "太叔", "仲孙", "万俟", "赫连", "鲜于", "闾丘",
    "司寇", "子车", "颛孙", "巫马", "公西", "漆雕", "乐正", "壤驷", "公良", "拓跋", "夹谷", "宰父", "谷梁",
    "段干", "东门", "南门", "左丘", "梁丘", "纳兰", "完颜", "第五", "羊舌", "微生", "亓官", "仉督", "耶律",
    "哥舒", "贺兰", "叶赫", "那拉", "納蘭", "歐陽", "司馬", "諸葛", "東方", "尉遲", "公孫", "長孫", "軒轅",
    "獨孤", "西門", "東郭", "鍾離", "濮陽", "淳於",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mask(name: &str) -> String {
        MaskedName::of(&FullName::parse(name).unwrap()).as_str().to_owned()
    }

    #[test]
    fn the_table_of_masks() {
        for (name, expected) in [
            ("张", "张*"),
            ("张三", "张*"),
            ("张三丰", "张**"),
            ("张三丰丰", "张**"),
            ("欧阳", "欧*"),
            ("欧阳锋", "欧阳*"),
            ("欧阳测试", "欧阳*"),
            ("諸葛亮", "諸葛*"),
            ("阿依古丽·买买提", "阿***·买***"),
            ("阿卜杜拉·买买提·伊明", "阿***·买***"),
            ("John Smith", "J***"),
            ("J", "J***"),
            ("Renée", "R***"),
            ("𠮷田", "𠮷*"),
            ("김철수", "김***"),
        ] {
            assert_eq!(mask(name), expected, "{name}");
        }
    }

    #[test]
    fn nothing_but_a_mask_was_shown_before() {
        for text in ["", "张", "张三", "张三丰*", "张*三", "阿依***·买***", &"*".repeat(17)] {
            assert_eq!(MaskedName::shown_before(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_mask_shows_at_most_two_characters(text in "\\PC{1,30}") {
            if let Ok(name) = FullName::parse(&text) {
                let shown = MaskedName::of(&name);
                let readable = shown.as_str().chars().filter(|char| !matches!(char, '*' | '·')).count();
                prop_assert!(readable <= 2);
                prop_assert!(shown.as_str().ends_with('*'));
                prop_assert_eq!(MaskedName::shown_before(shown.as_str()), Some(shown));
            }
        }
    }
}
