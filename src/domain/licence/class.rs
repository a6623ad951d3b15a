//! Vehicle classes (准驾车型) of Order 162 annex 1, in force 1 April 2022.

use jiff::civil::Date;

use crate::domain::closed_set::closed_set;

closed_set! {
    /// A class printed on a licence.
    pub enum VehicleClass {
        /// 大型客车
        A1 = 1, "A1";
        /// 重型牵引挂车
        A2 = 2, "A2";
        /// 城市公交车
        A3 = 3, "A3";
        /// 中型客车
        B1 = 4, "B1";
        /// 大型货车
        B2 = 5, "B2";
        /// 小型汽车
        C1 = 6, "C1";
        /// 小型自动挡汽车
        C2 = 7, "C2";
        /// 低速载货汽车
        C3 = 8, "C3";
        /// 三轮汽车
        C4 = 9, "C4";
        /// 残疾人专用小型自动挡载客汽车
        C5 = 10, "C5";
        /// 轻型牵引挂车, new on 1 April 2022
        C6 = 11, "C6";
        /// 普通三轮摩托车
        D = 12, "D";
        /// 普通二轮摩托车
        E = 13, "E";
        /// 轻便摩托车
        F = 14, "F";
        /// 轮式专用机械车
        M = 15, "M";
        /// 无轨电车
        N = 16, "N";
        /// 有轨电车
        P = 17, "P";
    }
}

/// A set of classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClassSet(u32);

/// One class held, with the day it began: an upgrade has its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassHolding {
    /// The class.
    pub class: VehicleClass,
    /// First day of the class (起始日期).
    pub since: Date,
}
