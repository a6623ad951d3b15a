//! State letters (GA/T 16.25-2012). A holder may carry several at once; an unknown letter is kept and never helps.

use crate::domain::closed_set::closed_set;

closed_set! {
    /// A state letter whose meaning is known.
    pub enum StateLetter {
        /// 正常
        Normal = b'A', "A";
        /// 超分 (记满12分)
        PointsFull = b'B', "B";
        /// 转出
        TransferredOut = b'C', "C";
        /// 暂扣
        Suspended = b'D', "D";
        /// 撤销
        Annulled = b'E', "E";
        /// 吊销
        Revoked = b'F', "F";
        /// 注销
        Cancelled = b'G', "G";
        /// 违法未处理
        ViolationPending = b'H', "H";
        /// 事故未处理
        AccidentPending = b'I', "I";
        /// 停止使用
        Stopped = b'J', "J";
        /// 扣押
        Seized = b'K', "K";
        /// 锁定
        Locked = b'L', "L";
        /// 逾期未换证
        RenewalOverdue = b'M', "M";
        /// 延期换证
        RenewalDeferred = b'N', "N";
        /// 延期体检
        MedicalDeferred = b'P', "P";
        /// 注销可恢复
        CancelledRestorable = b'R', "R";
        /// 逾期未审验
        ReviewOverdue = b'S', "S";
        /// 延期审验
        ReviewDeferred = b'T', "T";
        /// 扣留
        Detained = b'U', "U";
    }
}

/// A set of state letters A-Z, unknown ones included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct StateSet(u32);
