//! The shapes of 0.3, as they stand on the wire.

use super::{Direction, Operation, REST_0_3, RPC_0_3, check};

#[test]
fn the_shapes_of_0_3_have_their_ids_where_0_3_has_them() {
    let list = Operation::ListTaskPushNotificationConfigs;
    for (operation, direction, from, to) in [
        (
            Operation::SendMessage,
            Direction::Reply,
            r#"{"result":{"id":"t","contextId":"c","status":{"message":{"taskId":"t","messageId":"t"}},"history":[{"referenceTaskIds":["u","v"]}],"kind":"task"}}"#,
            r#"{"result":{"id":"z1t.t","contextId":"z1c.c","status":{"message":{"taskId":"z1t.t","messageId":"t"}},"history":[{"referenceTaskIds":["z1t.u","z1t.v"]}],"kind":"task"}}"#,
        ),
        (
            Operation::SubscribeToTask,
            Direction::Event,
            r#"{"result":{"taskId":"t","contextId":"c","final":true,"kind":"status-update","status":{"message":null}}}"#,
            r#"{"result":{"taskId":"z1t.t","contextId":"z1c.c","final":true,"kind":"status-update","status":{"message":null}}}"#,
        ),
        (
            list,
            Direction::Request,
            r#"{"jsonrpc":"2.0","params":{"id":"t"},"method":"tasks/pushNotificationConfig/list"}"#,
            r#"{"jsonrpc":"2.0","params":{"id":"z1t.t"},"method":"tasks/pushNotificationConfig/list"}"#,
        ),
        (
            list,
            Direction::Reply,
            r#"{"result":[{"taskId":"t","pushNotificationConfig":{"id":"x"}}]}"#,
            r#"{"result":[{"taskId":"z1t.t","pushNotificationConfig":{"id":"x"}}]}"#,
        ),
    ] {
        check(RPC_0_3, operation, direction, from, to);
    }
    check(
        REST_0_3,
        list,
        Direction::Reply,
        r#"{"configs":[{"name":"tasks/t/pushNotificationConfigs/7"},{"name":"else"}]}"#,
        r#"{"configs":[{"name":"tasks/z1t.t/pushNotificationConfigs/7"},{"name":"else"}]}"#,
    );
    check(
        REST_0_3,
        list,
        Direction::Reply,
        r#"[{"task_id":"t","push_notification_config":{"id":"x"}}]"#,
        r#"[{"task_id":"z1t.t","push_notification_config":{"id":"x"}}]"#,
    );
    check(
        REST_0_3,
        Operation::SendMessage,
        Direction::Request,
        r#"{"request":{"task_id":"t","content":[{"data":{"data":{"taskId":"x"}}}]},"task_id":"x"}"#,
        r#"{"request":{"task_id":"z1t.t","content":[{"data":{"data":{"taskId":"x"}}}]},"task_id":"x"}"#,
    );
}

#[test]
fn a_resource_name_that_names_no_task_is_left_as_it_is() {
    for name in [
        "",
        "t",
        "tasks/",
        "task/t",
        "tasks//pushNotificationConfigs/x",
    ] {
        let text = format!(r#"{{"name":"{name}"}}"#);
        check(
            REST_0_3,
            Operation::CancelTask,
            Direction::Request,
            &text,
            &text,
        );
    }
}
