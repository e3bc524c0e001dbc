/* api_all.c - every API table and object, in the order in which they are opened. */
#include "script/api_check.h"
#include "script/api_conn.h"
#include "script/api_crypto.h"
#include "script/api_env.h"
#include "script/api_http.h"
#include "script/api_files.h"
#include "script/api_json.h"
#include "script/api_limit.h"
#include "script/api_jwt.h"
#include "script/api_log.h"
#include "script/api_password.h"
#include "script/api_queue.h"
#include "script/api_room.h"
#include "script/api_signal.h"
#include "script/api_sql.h"
#include "script/api_store.h"
#include "script/api_task.h"
#include "script/api_timer.h"
#include "script/api_user.h"
#include "script/errand.h"
#include "script/headers.h"
#include "script/reject.h"
#include "script/req.h"
#include "script/response.h"
#include "script/state.h"

struct api {
    void (*open)(lua_State *L); /* once per VM, NULL for none */
    void (*fill)(lua_State *L); /* once per version, NULL for none */
};

static const struct api apis[] = {
    {errand_open, NULL},
    {headers_open, NULL},
    {NULL, api_json_fill},
    {api_check_open, api_check_fill},
    {NULL, api_log_fill},
    {NULL, api_env_fill},
    {api_crypto_open, api_crypto_fill},
    {NULL, api_password_fill},
    {NULL, api_jwt_fill},
    {api_store_open, api_store_fill},
    {api_file_open, api_files_fill},
    {api_sql_open, api_sql_fill},
    {api_task_open, api_task_fill},
    {api_timer_open, api_timer_fill},
    {api_queue_open, api_queue_fill},
    {api_limit_open, api_limit_fill},
    {NULL, api_reject_fill},
    {api_req_open, NULL},
    {api_response_open, api_http_fill},
    {api_conn_open, api_conn_fill},
    {api_user_open, api_user_fill},
    {api_room_open, api_room_fill},
    {NULL, api_signal_fill},
};

void api_all_open(lua_State *L)
{
    for (size_t i = 0; i < sizeof(apis) / sizeof(apis[0]); i++)
        if (apis[i].open)
            apis[i].open(L);
}

void api_all_fill(lua_State *L)
{
    for (size_t i = 0; i < sizeof(apis) / sizeof(apis[0]); i++)
        if (apis[i].fill)
            apis[i].fill(L);
}
